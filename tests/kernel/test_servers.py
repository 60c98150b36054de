"""Whatever is wrong with a server: one sentence, its setting first, and never the password.

The servers are real: the system's RabbitMQ and MongoDB, and one mongod that is no replica set.
"""

import asyncio
import errno
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect

from cartwheel.kernel.servers import Unusable, check_mongodb, check_rabbitmq, shown, why
from cartwheel.local import mongod, ports
from cartwheel.local.up import System

SECRET = "s3cret"
Check = Callable[[str], Awaitable[None]]

RABBITMQ = [
    ("amqp://shop:s3cret@127.0.0.1:{free}/", "refuses connections"),
    ("amqp://shop:s3cret@no-such-host.invalid/", "host has no known address"),
    ("amqp://shop:s3cret@{rabbitmq}/", "refuses this user or password"),
    ("amqp://guest:guest@{rabbitmq}/no-such-vhost", "virtual host is missing, or closed to this"),
    ("amqps://shop:s3cret@{rabbitmq}/", "with which TLS fails"),
    ("amqp://shop:s3cret@{silent}/", "does not answer in time"),
]
MONGODB = [
    ("mongodb://shop:s3cret@127.0.0.1:{free}/", "refuses connections"),
    ("mongodb://shop:s3cret@no-such-host.invalid/", "host has no known address"),
    ("mongodb://shop:s3cret@{mongodb}/", "refuses this user or password"),
    ("mongodb://{mongodb}/?replicaSet=another", "not in the replica set that it names"),
    ("mongodb://{alone}/?replicaSet=another", "not in the replica set that it names"),
    ("mongodb://{alone}/", "is not a replica set"),
    ("mongodb://shop:s3cret@{mongodb}/?tls=true", "with which TLS fails"),
    ("mongodb://shop:s3cret@{silent}/", "does not answer in time"),
    (
        "mongodb://a,b/?directConnection=true",
        "which says ConfigurationError: Cannot specify multiple",
    ),
]


@pytest.fixture(scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[str]:
    """The address of a mongod that is not in a replica set."""
    port = ports.find_free()
    program = await asyncio.create_subprocess_exec(
        *(mongod.find() or "mongod", "--port", str(port), "--bind_ip", "127.0.0.1"),
        *("--nounixsocket", "--dbpath", str(tmp_path_factory.mktemp("alone"))),
        stdout=asyncio.subprocess.DEVNULL,
    )
    async with AsyncMongoClient[dict[str, Any]]("127.0.0.1", port) as client:
        await client.admin.command("ping")
    yield f"127.0.0.1:{port}"
    program.kill()
    await program.wait()


@pytest.fixture(scope="module")
def places(system: System, alone: str) -> Generator[dict[str, str]]:
    """Servers of all kinds; the silent one takes connections, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield {
            "free": str(ports.find_free()),
            "silent": f"127.0.0.1:{silent.getsockname()[1]}",
            "alone": alone,
            "rabbitmq": urlsplit(system.environment["RABBITMQ_URL"]).netloc.rpartition("@")[2],
            "mongodb": urlsplit(system.environment["MONGODB_URI"]).netloc,
        }


@pytest.fixture(scope="module")
async def said(places: dict[str, str]) -> dict[str, str]:
    """What is said of each URL in the tables; all are checked at once, as most take a while."""

    async def refused(check: Check, url: str) -> tuple[str, str]:
        with pytest.raises(Unusable) as unusable:
            await check(url.format(**places))
        return url, str(unusable.value)

    return dict(
        await asyncio.gather(
            *(refused(check_rabbitmq, url) for url, _ in RABBITMQ),
            *(refused(check_mongodb, url) for url, _ in MONGODB),
        )
    )


@pytest.mark.parametrize(
    ("variable", "url", "reason"),
    [
        *(("RABBITMQ_URL", *row) for row in RABBITMQ),
        *(("MONGODB_URI", *row) for row in MONGODB),
    ],
)
async def test_an_unusable_server_is_one_sentence_that_names_its_setting(
    places: dict[str, str], said: dict[str, str], variable: str, url: str, reason: str
) -> None:
    sentence = said[url]

    assert sentence.startswith(f"{variable} points to {shown(url.format(**places))}, ")
    assert reason in sentence
    assert SECRET not in sentence
    assert "\n" not in sentence


async def test_usable_servers_pass(system: System) -> None:
    await check_rabbitmq(system.environment["RABBITMQ_URL"])
    await check_mongodb(system.environment["MONGODB_URI"])


@pytest.mark.parametrize(
    ("url", "as_shown"),
    [
        ("amqp://shop:s3cret@host:5672/vhost?heartbeat=5", "amqp://shop:***@host:5672/vhost"),
        ("amqp://shop:s3@cret@host/", "amqp://shop:***@host/"),
        ("amqp://shop@host/", "amqp://shop@host/"),
        (
            "mongodb://u:s3cret@a:1,b:2/?tlsCertificateKeyFilePassword=s3cret",
            "mongodb://u:***@a:1,b:2/",
        ),
        ("amqp://u:s3cret@a/,amqps://u:s3cret@b/x?y=z", "amqp://u:***@a/,amqps://u:***@b/x"),
        ("s3cret", "no URL"),
    ],
)
def test_a_url_is_shown_without_its_password_and_options(url: str, as_shown: str) -> None:
    assert shown(url) == as_shown


def test_the_drivers_message_is_shown_at_log_level_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Unusable("the sentence")
    refused.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")

    assert refused.in_full() == "the sentence"
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    assert refused.in_full() == (
        "the sentence\n  ConnectionRefusedError(111, 'Connect call failed')"
    )


def test_an_error_without_a_sentence_shows_the_drivers_message() -> None:
    sentence = why("MONGODB_URI", "mongodb://host/", AutoReconnect("never seen before"))

    assert sentence == (
        "MONGODB_URI points to mongodb://host/, which says AutoReconnect: never seen before"
    )
