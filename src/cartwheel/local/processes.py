"""Cartwheel's own processes, as `cartwheel up` starts them, and their environment."""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cartwheel.kernel.settings import DrainSeconds
from cartwheel.local import instance, ports
from cartwheel.local.command import Command
from cartwheel.local.preflight import DEFAULT_HOST
from cartwheel.services import SERVICES

GATEWAY = "gateway"
SIMULATOR = "simulator"


class Process(msgspec.Struct, frozen=True):
    """One line of the table. See `Command` for layers; the dependencies are layers 0 and 1.

    `settings` names the class of the process's settings, as `module:Class`. `own` are variables
    that no other process gets.
    """

    name: str
    argv: tuple[str, ...]
    layer: int = 2
    settings: str = ""
    own: Mapping[str, str] = {}


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)


def _own(name: str, *, layer: int = 2) -> Process:
    """Return one of our processes. Their modules all have the same names."""
    package = f"cartwheel.{name}"
    return Process(name, _module(f"{package}.app"), layer, f"{package}.settings:Settings")


SETUP = (*_module("cartwheel.cli"), "setup")
"""Declares exchanges, queues and indexes. It runs to its end before any process starts."""

PROCESSES = (
    _own(SIMULATOR, layer=1),
    *map(_own, (*SERVICES, GATEWAY)),
)


def replicas(process: Process, count: int) -> tuple[Process, ...]:
    """Return `count` replicas of `process`. The first has its name; others are `orders.2` etc."""
    more = (
        msgspec.structs.replace(process, name=f"{process.name}.{n}") for n in range(2, count + 1)
    )
    return (process, *more)


PUBLISHABLE_KEY = "pk_test_cartwheel"
"""The simulator's publishable key. It is not secret, so it is fixed, and examples can use it."""

_OWN_AWS_ACCOUNT = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION")
"""Variables that would make the AWS client bypass the emulator."""


def settings(home: Path, given: Mapping[str, str], port: int | None) -> dict[str, str]:
    """Return the variables of Cartwheel's own processes. Those in `given` stay unchanged.

    Without a `port`, a free one is chosen and stored.
    """

    def secret(name: str) -> str:
        return instance.remember(home, name, lambda: secrets.token_urlsafe(24))

    reached = ports.in_url(given.get("HOST") or DEFAULT_HOST)
    chosen = port or instance.port(home, GATEWAY)
    simulator_port = str(instance.port(home, "simulator"))
    ledger = instance.make_folder(home / "simulator") / "ledger.sqlite"
    defaults = {
        "DRAIN_SECONDS": "0",
        "HOST": DEFAULT_HOST,
        "LOG_LEVEL": "INFO",
        "MONGODB_DATABASE_PREFIX": "",
        "SIMULATOR_PORT": simulator_port,
        "SIMULATOR_URL": f"http://{reached}:{simulator_port}",
        "SIMULATOR_LEDGER": str(ledger),
        "SIMULATOR_API_KEY": secret("simulator_api_key"),
        "SIMULATOR_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
        "SIMULATOR_SHOP_ORIGINS": _origin(reached, chosen),
        "SIMULATOR_WEBHOOK_SECRET": secret("simulator_webhook_secret"),
        "SIMULATOR_WEBHOOK_URL": f"http://{reached}:{chosen}/api/v1/webhooks/simulator",
    }
    kept = {name: given[name] for name in defaults if given.get(name)}
    return defaults | kept | {"PORT": str(chosen)}


def _origin(host: str, port: int) -> str:
    """Return an origin as browsers write it."""
    return f"http://{host.lower()}" if port == 80 else f"http://{host.lower()}:{port}"


def command(process: Process, environment: Mapping[str, str]) -> Command:
    """Return the command for `process` with `environment`."""
    return Command(
        name=process.name,
        argv=process.argv,
        environment={**complete(environment), **process.own},
        layer=process.layer,
        drain_seconds=drain_seconds(environment),
    )


def drain_seconds(environment: Mapping[str, str]) -> float:
    """Return how long processes run on after they are told to stop; 0 if the value is malformed.

    `check_settings` reports malformed values.
    """
    try:
        return msgspec.convert(environment.get("DRAIN_SECONDS") or 0, DrainSeconds, strict=False)
    except msgspec.ValidationError:
        return 0.0


def complete(environment: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment, updated with `environment`."""
    mine = dict(os.environ)
    if "AWS_ENDPOINT_URL" in environment:
        mine = {name: value for name, value in mine.items() if name not in _OWN_AWS_ACCOUNT}
    return {**mine, "PYTHONUNBUFFERED": "1", **environment}
