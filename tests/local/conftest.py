"""Small processes that behave, and fail, like Cartwheel's; and one set of real dependencies."""

import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path

import pytest

from cartwheel.local.command import Command
from cartwheel.local.console import Console
from cartwheel.local.processes import Process
from cartwheel.local.supervisor import Supervisor, supervising

READY = """
import os, signal, socket, sys, time
def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
"""

NOTHING_TO_PROVIDE = {
    "MONGODB_URI": "mongodb://elsewhere",
    "RABBITMQ_URL": "amqp://elsewhere",
    "COGNITO_USER_POOL_ID": "eu-west-1_pool",
    "COGNITO_CLIENT_ID": "client",
    "SES_SENDER": "shop@example.com",
}
"""An environment in which all dependencies are given."""

BEHAVIOURS = {
    "good": "ready(); time.sleep(600)",
    "failing": "print('no such table'); sys.exit(3)",
    "silent": "time.sleep(600)",
    "waiting": """
for _ in range(3):
    print('{"error":"MONGODB_URI points to nowhere","event":"waiting for MongoDB"}', flush=True)
time.sleep(600)""",
    "short": "ready(); time.sleep(0.05); sys.exit(1)",
    "deaf": "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(600)",
    "forking": """
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
ready(); time.sleep(600)""",
    "stopping": """
def note(*_):
    with open("stops", "a") as file:
        file.write(sys.argv[1] + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, note); ready(); time.sleep(600)""",
    "draining": """
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
ready()
while not told: time.sleep(0.01)
print("draining", flush=True)
while len(told) < 2: time.sleep(0.01)
print("stopping", flush=True)""",
    "writing": """
folder = os.path.join(os.environ["CARTWHEEL_INSTANCE"], "simulator")
os.makedirs(os.path.join(folder, "inner"))
open(os.path.join(folder, "written"), "w").close()
ready(); time.sleep(600)""",
    "telling": "print(dict(os.environ)); ready(); time.sleep(600)",
}


class Recorder(Console):
    """A console that records its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def console() -> Recorder:
    return Recorder()


def _argv(behaviour: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", READY + BEHAVIOURS[behaviour], *arguments)


@pytest.fixture(name="argv")
def argv_fixture() -> Callable[..., tuple[str, ...]]:
    """Return the command line of a process with one of the BEHAVIOURS."""
    return _argv


@pytest.fixture
def process() -> Callable[[str], Process]:
    """A line of the processes' table."""
    return lambda behaviour: Process(behaviour, _argv(behaviour))


@pytest.fixture
def command() -> Callable[..., Command]:
    """A process for the supervisor; keywords go to Command."""

    def make(behaviour: str, **changes: object) -> Command:
        values: dict[str, object] = {
            "name": behaviour,
            "argv": _argv(behaviour),
            "environment": {},
            "start_limit": 30.0,
        }
        return Command(**(values | changes))  # pyright: ignore[reportArgumentType] by msgspec at once

    return make


@pytest.fixture
def given() -> Mapping[str, str]:
    return NOTHING_TO_PROVIDE


@pytest.fixture
async def supervisor(tmp_path: Path, console: Recorder) -> AsyncGenerator[Supervisor]:
    async with supervising(tmp_path, console) as supervisor:
        yield supervisor
