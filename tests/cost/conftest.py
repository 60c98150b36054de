"""A whole shop, with a counting proxy between each process and its dependencies."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from cartwheel.kernel import mongodb
from cartwheel.kernel.mongodb import Client
from cartwheel.local.dependencies import side_by_side
from cartwheel.local.processes import PROCESSES, command
from cartwheel.local.up import System, running

from ..beside import beside
from ..counting import Steps
from ..journeys.shop import Shop, open_shop
from ..proxy import Watch, proxy_to

SERVICES = ("products", "orders", "payments", "notifications")


class Counted(msgspec.Struct, frozen=True):
    shop: Shop
    client: Client
    steps: Steps


@pytest.fixture(scope="module")
async def counted(
    system: System, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Counted]:
    steps = Steps()
    watched: dict[str, tuple[Callable[[str], Watch], tuple[str, ...]]] = {
        "MONGODB_URI": (steps.of_mongodb, (*SERVICES, "gateway")),
        "RABBITMQ_URL": (steps.of_rabbitmq, (*SERVICES, "gateway")),
        "AWS_ENDPOINT_URL": (steps.of_http, ("notifications", "gateway")),
        "SIMULATOR_URL": (steps.of_http, ("payments",)),
        "SIMULATOR_WEBHOOK_URL": (steps.of_http, ("simulator",)),
    }
    async with AsyncExitStack() as stack:
        home: Path = tmp_path_factory.mktemp("counted")
        shared = await stack.enter_async_context(beside(system, "counted"))
        own: System = await stack.enter_async_context(
            running(home, given=shared.given, processes=())
        )
        settings = {**own.environment, "RATE_LIMITS": "on"}
        environments = {process.name: dict(settings) for process in PROCESSES}
        for variable, (watch, processes) in watched.items():
            for name in processes:
                _, environments[name][variable] = await stack.enter_async_context(
                    proxy_to(own.environment[variable], watch(name))
                )
        simulator, *services = PROCESSES
        await own.supervisor.run(command(simulator, environments[simulator.name]))
        await side_by_side(
            own.supervisor.run(command(process, environments[process.name])) for process in services
        )
        _, url = await stack.enter_async_context(proxy_to(own.url, steps.of_http("customer")))
        yield Counted(
            shop=await stack.enter_async_context(open_shop(url)),
            client=await stack.enter_async_context(
                mongodb.connect(own.environment["MONGODB_URI"], process="tests")
            ),
            steps=steps,
        )
        # Stop them while they still reach their dependencies.
        await own.supervisor.stop(*(process.name for process in PROCESSES))
