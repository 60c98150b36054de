"""The scenarios: the load of each, its expected answers, and the parts of its floor.

The parts of a floor are the minimum for one request, if gateway, products, orders and payments are
processes that communicate over RabbitMQ and have a database each. They are added up as if done one
after the other. This system overlaps them and handles many requests in one write, so with many
concurrent requests it may be faster than its floor.
"""

import asyncio
import time
from typing import Any

import msgspec

from bench.buying import Purchases, purchases
from bench.floors.measure import Bare
from bench.load import Load, load
from bench.results import Floor, Measured, Part, Run, combined, median
from bench.shop import FLASH_PIECES, Shop
from bench.usage import Used, watching
from cartwheel.local.console import Console

_WARM_UP = 1.0
_BUSY = 0.8
"""Above this share of a core, a single-threaded process counts as the bottleneck."""

_LOOKS = 10
"""How often to check the end of a flash sale: wrk stops while some attempts are undecided."""

_REFUSAL = 330
"""Bytes of a 409 `insufficient_stock`."""


class Need(msgspec.Struct, frozen=True):
    """A part of a floor: `http`, `amqp` or a method of `floors.mongo.Work`, `times` per request."""

    part: str
    times: float = 1


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario. `answers` are paths with answers of typical length, and their shares."""

    name: str
    title: str
    script: str
    connections: tuple[int, ...]
    expected: tuple[str, ...] = ("200",)
    status: int = 200
    answers: tuple[tuple[str, float], ...] = ()
    needs: tuple[Need, ...]
    unit: str = "requests"
    data: dict[str, Any] = {}


_LIST, _ORDER, _PRODUCT = "/products?limit={}", "/orders/{order}", "/products/{product}"
SCENARIOS = (
    Scenario(
        name="a20",
        title="list of 20 products",
        script="list.lua",
        connections=(1, 32, 128, 512),
        answers=((_LIST.format(20), 1),),
        needs=(Need("http"), Need("amqp"), Need("list_20")),
        data={"limit": 20},
    ),
    Scenario(
        name="a100",
        title="list of 100 products",
        script="list.lua",
        connections=(1, 32, 128),
        answers=((_LIST.format(100), 1),),
        needs=(Need("http"), Need("amqp"), Need("list_100")),
        data={"limit": 100},
    ),
    Scenario(
        name="b",
        title="get one order",
        script="get_order.lua",
        connections=(1, 32, 128, 512),
        answers=((_ORDER, 1),),
        needs=(Need("http"), Need("amqp"), Need("get_order")),
    ),
    Scenario(
        name="c",
        title="place an order of two lines",
        script="place_order.lua",
        connections=(1, 32, 128, 512),
        expected=("201",),
        status=201,
        answers=((_ORDER, 1),),
        # Two round trips: to orders, and from there to products.
        needs=(Need("http"), Need("amqp", 2), Need("reserve"), Need("insert")),
    ),
    Scenario(
        name="d",
        title="full purchase: order, card, PAID, mail",
        # The customers are `bench.customers`. The script is for the HTTP part of the floor.
        script="place_order.lua",
        connections=(32, 128, 512),
        expected=("order 201", "payment 201"),
        status=201,
        answers=((_ORDER, 1),),
        # In addition to the order: one more round trip; the payment is stored, and changed twice;
        # the order and its stock are changed once each. The mail and the card's provider are not
        # counted, because any system would wait for them.
        needs=(
            Need("http", 2),
            Need("amqp", 3),
            Need("reserve"),
            Need("insert", 2),
            Need("update", 4),
        ),
        unit="purchases",
    ),
    Scenario(
        name="e",
        title=f"flash sale of {FLASH_PIECES} pieces",
        script="flash_sale.lua",
        connections=(512,),
        expected=("201", "409"),
        status=409,
        # Nearly all requests are refused, by products through orders, after a check of the stock.
        needs=(Need("http"), Need("amqp", 2), Need("get_product")),
        unit="attempts",
    ),
    Scenario(
        name="f",
        title="90 % reads, 10 % orders",
        script="mixed.lua",
        connections=(32, 128, 512),
        expected=("200", "201"),
        answers=((_ORDER, 0.4), (_LIST.format(20), 0.3), (_PRODUCT, 0.3)),
        needs=(
            Need("http"),
            Need("amqp", 1.1),
            Need("get_order", 0.3),
            Need("list_20", 0.3),
            Need("get_product", 0.3),
            Need("reserve", 0.1),
            Need("insert", 0.1),
        ),
    ),
)


class WentWrong(Exception):
    """A scenario gave wrong results."""


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """Measures scenarios on `shop`, `times` runs of `seconds` each."""

    shop: Shop
    console: Console
    seconds: float
    times: int
    bare: Bare | None = None

    async def measure(self, scenario: Scenario, connections: int) -> Measured:
        """Return the runs and, with `bare`, the floor, taken right after them.

        Raises:
            WentWrong: something was answered that should not have been.
        """
        what = f"{scenario.name}: {scenario.title}, {connections} connections"
        with self.console.doing(f"{what}: warm-up"):
            await self.warm_up(scenario, connections)
        runs: list[Run] = []
        for number in range(1, self.times + 1):
            with self.console.doing(f"{what}: run {number} of {self.times}"):
                run = await self.run(scenario, connections, seed=number)
            self.console.say(f"  {run.per_second:,.0f} {scenario.unit}/s")
            runs.append(run)
        floor = None
        if self.bare is not None:
            with self.console.doing(f"{what}: floor"):
                floor = await self._floor(self.bare, scenario, connections)
        middle = median(runs)
        return Measured(
            scenario=scenario.name,
            title=scenario.title,
            unit=scenario.unit,
            connections=connections,
            run=middle,
            runs=runs,
            rates=[run.per_second for run in runs],
            floor=floor,
            ratio=middle.per_second / floor.per_second if floor else None,
            note=_note(scenario, middle),
        )

    async def warm_up(self, scenario: Scenario, connections: int) -> None:
        """Load the system for a moment without measuring. Purchases have their own warm-up."""
        if scenario.name != "d":
            await self._load(scenario, connections, _WARM_UP, seed=0)

    async def run(self, scenario: Scenario, connections: int, *, seed: int) -> Run:
        """Return the result of one run.

        Raises:
            WentWrong: there were unexpected answers.
        """
        if scenario.name == "d":
            found = await purchases(
                self.shop, customers=connections, seconds=self.seconds, seed=seed
            )
            run = _run_of_purchases(scenario, found)
        else:
            run = await self._load(scenario, connections, self.seconds, seed=seed)
        if run.errors:
            raise WentWrong(
                f"{scenario.name}, {connections} connections: {run.errors} of {run.requests}"
            )
        return run

    async def _load(
        self, scenario: Scenario, connections: int, seconds: float, *, seed: int
    ) -> Run:
        """Return the result of wrk's load. `seed` 0 is the warm-up, which is checked less."""
        shop, data = self.shop, self.shop.data | scenario.data
        if scenario.name == "e":
            data["flash"] = await shop.put_up_flash_sale()
        began = time.time()
        async with watching(shop.system.supervisor) as used:
            loaded = await load(
                shop.url,
                scenario.script,
                data,
                connections=connections,
                seconds=seconds,
                seed=seed,
            )
            if scenario.status != 200 or "201" in scenario.expected:
                # Work that follows a request is part of its cost.
                await shop.settled()
        details = {}
        if scenario.name == "e" and seed:
            details = await self._of_sale(data["flash"], loaded)
        return _run(scenario, loaded, used, took=time.time() - began, details=details)

    async def _of_sale(self, product_id: str, loaded: Load) -> dict[str, float]:
        """Check that every piece was sold exactly once."""
        answered = loaded.statuses.get("201", 0)
        held = ordered = 0
        for _ in range(_LOOKS):
            held, ordered = await self.shop.flash_sold(product_id)
            if held == ordered == FLASH_PIECES:
                break
            await asyncio.sleep(0.5)
        if not answered == held == ordered == FLASH_PIECES:
            raise WentWrong(
                f"of {FLASH_PIECES} pieces {answered} were answered 201, {held} are held and "
                f"{ordered} are in orders"
            )
        return {"sold": answered, "refused": loaded.statuses.get("409", 0)}

    async def _floor(self, bare: Bare, scenario: Scenario, connections: int) -> Floor:
        size = await self._answer_size(scenario)
        parts: list[Part] = []
        for need in scenario.needs:
            match need.part:
                case "http":
                    rate = await bare.http(
                        scenario.script,
                        self.shop.data | scenario.data | {"flash": self.shop.products[0]},
                        connections=connections,
                        size=size,
                        status=scenario.status,
                    )
                case "amqp":
                    rate = await bare.amqp(connections=connections, size=size)
                case work:
                    rate = await bare.mongo(work, connections=connections)
            parts.append(Part(name=need.part, times=need.times, per_second=rate))
        return combined(parts)

    async def _answer_size(self, scenario: Scenario) -> int:
        """Return the mean length of the scenario's answers, in bytes."""
        places = {"order": self.shop.orders[0], "product": self.shop.products[0]}
        sizes = [
            await self.shop.size_of(path.format(**places)) * share
            for path, share in scenario.answers
        ]
        return round(sum(sizes)) or _REFUSAL


def _run(
    scenario: Scenario,
    loaded: Load,
    used: Used,
    *,
    took: float,
    details: dict[str, float],
) -> Run:
    return Run(
        per_second=loaded.per_second,
        requests=loaded.requests,
        seconds=loaded.seconds,
        p50_ms=loaded.p50_ms,
        p99_ms=loaded.p99_ms,
        statuses=loaded.statuses,
        errors=loaded.unexpected(*scenario.expected),
        cpu={name: 1000 * cpu / max(loaded.requests, 1) for name, cpu in used.cpu.items()},
        peak_mib=used.peak_mib,
        generator_busy=loaded.generator_cpu / loaded.seconds,
        others_busy=max(0.0, used.others - loaded.generator_cpu) / took,
        details=details,
    )


def _run_of_purchases(scenario: Scenario, found: Purchases) -> Run:
    bought, busy = found.bought, found.used.cpu
    loaded = Load(
        requests=bought.purchases,
        seconds=bought.seconds,
        p50_ms=bought.paid.p50,
        p99_ms=bought.paid.p99,
        refused=0,
        statuses=bought.statuses,
        socket_errors={},
        generator_cpu=found.customers_cpu,
    )
    details = {
        "placed_p50_ms": bought.placed.p50,
        "answered_p50_ms": bought.answered.p50,
        "mailed_p50_ms": bought.mailed.p50,
        "mailed_p99_ms": bought.mailed.p99,
        "ministack_busy": busy.get("ministack", 0.0) / bought.seconds,
        "simulator_busy": busy.get("simulator", 0.0) / bought.seconds,
    }
    run = _run(scenario, loaded, found.used, took=bought.seconds, details=details)
    return msgspec.structs.replace(run, counts=found.counts)


def _note(scenario: Scenario, run: Run) -> str | None:
    notes: list[str] = []
    if run.generator_busy > _BUSY:
        notes.append(f"the load took {run.generator_busy:.0%} of a core: it may be the limit")
    if run.details.get("ministack_busy", 0) > _BUSY:
        notes.append("MiniStack, the emulator that takes the mails, is the bottleneck")
    return "; ".join(notes) or None


async def emulator_rate(shop: Shop, seconds: float) -> float:
    """Return how many mails per second MiniStack accepts when it is otherwise idle.

    Raises:
        WentWrong: it refuses mails.
    """
    environment = shop.system.environment
    loaded = await load(
        environment["AWS_ENDPOINT_URL"],
        "mail.lua",
        {"sender": environment["SES_SENDER"].rpartition("<")[2].rstrip(">")},
        connections=16,
        seconds=seconds,
    )
    if wrong := loaded.unexpected():
        raise WentWrong(f"MiniStack refused mails: {wrong}")
    return loaded.per_second
