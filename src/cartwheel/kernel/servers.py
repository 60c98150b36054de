"""Explains why a server cannot be used: one sentence that names the setting, without passwords.

    RABBITMQ_URL points to amqp://shop:***@10.0.0.7:5672/, which refuses connections

LOG_LEVEL=DEBUG adds the driver's own message.
"""

import asyncio
import errno
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

from cartwheel.kernel._amqp import connecting
from cartwheel.kernel._amqp.interface import AccessRefused, BadUrl, VirtualHostRefused
from cartwheel.kernel.settings import AmqpClient, each_url

CHECK_SECONDS = 5.0
"""Seconds that a server gets to answer a check."""

_URL = re.compile(r"(?P<scheme>[a-z+]+://)(?:(?P<userinfo>[^/?#]*)@)?(?P<place>[^?#]*)", re.I)


class Unusable(Exception):
    """A server cannot be used. The message is the sentence."""

    def in_full(self) -> str:
        """Return the sentence; with LOG_LEVEL=DEBUG, also the driver's message."""
        asked = os.environ.get("LOG_LEVEL") == "DEBUG" and self.__cause__
        return f"{self}\n  {self.__cause__!r}" if asked else str(self)


def shown(url: str) -> str:
    """Return `url`, or each URL of a list, without password and options."""
    return ",".join(map(_shown, each_url(url)))


def _shown(url: str) -> str:
    match = _URL.match(url)
    if match is None:
        return "no URL"  # it may be a secret
    user, colon, _ = (match["userinfo"] or "").partition(":")
    who = f"{user}{':***' if colon else ''}@" if match["userinfo"] else ""
    return f"{match['scheme']}{who}{match['place']}"


def why(variable: str, url: str, error: BaseException) -> str:
    """Return the sentence about `error`, which occurred while connecting to `url`."""
    return f"{variable} points to {shown(url)}, {_which(error)}"


async def check_rabbitmq(url: str, client: AmqpClient = "built-in") -> None:
    """Check that at least one of RabbitMQ's nodes admits this user to this virtual host.

    Raises:
        Unusable: none does.
    """
    unusable: list[Unusable] = []
    for each in each_url(url):
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                node = await connecting.connect(each, name="check", heartbeat=60, client=client)
                await node.close()
            return
        except Exception as error:  # whatever it is, the server cannot be used
            sentence = why("RABBITMQ_URL", each, error)
            unusable.append(Unusable(sentence))
            unusable[-1].__cause__ = error
    if len(unusable) == 1:
        raise unusable[0]
    raise Unusable("; ".join(map(str, unusable))) from unusable[-1].__cause__


async def check_mongodb(uri: str, variable: str = "MONGODB_URI") -> None:
    """Check that MongoDB admits this user and has the transactions that the services need.

    `variable` is the setting that holds `uri`.

    Raises:
        Unusable: it does not.
    """
    # Imported here: callers that only need RabbitMQ do without the driver.
    from pymongo import AsyncMongoClient
    from pymongo.errors import PyMongoError

    try:
        async with AsyncMongoClient[dict[str, Any]](
            uri, serverSelectionTimeoutMS=int(CHECK_SECONDS * 1000)
        ) as client:
            hello = await client.admin.command("hello")
    except (PyMongoError, OSError, ValueError) as error:
        raise Unusable(why(variable, uri, error)) from error
    if "setName" not in hello and hello.get("msg") != "isdbgrid":  # the latter is a mongos
        raise Unusable(
            f"{variable} points to {shown(uri)}, which is not a replica set; "
            "only a replica set has transactions (one member is enough)"
        )


def _which(error: BaseException) -> str:
    """Return the problem as a clause about the server."""
    if isinstance(error, BadUrl):
        return f"with {error}"
    for applies, clause in _CLAUSES:
        if applies(error):
            return clause
    return f"which says {type(error).__name__}: {str(error)[:200]}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _met(*numbers: int) -> Callable[[BaseException], bool]:
    """Return a test for errors that have, or were caused by, one of these `errno` numbers."""

    def met(error: BaseException) -> bool:
        # MongoDB's driver keeps only the message of the original error.
        told = _ERRNO.search(str(error)) if _is_mongodbs(error) else None
        found = {each.errno for each in _chain(error) if isinstance(each, OSError)}
        return not found.isdisjoint(numbers) or (told is not None and int(told[1]) in numbers)

    return met


def _says(*texts: str) -> Callable[[BaseException], bool]:
    return lambda error: any(text in str(error) for text in texts)


def _is_tls(error: BaseException) -> bool:
    return any(isinstance(each, ssl.SSLError) for each in _chain(error))


def _is_refused_user(error: BaseException) -> bool:
    if _is_mongodbs(error):
        return getattr(error, "code", None) in _REFUSED_USERS
    return isinstance(error, AccessRefused) or type(error).__name__ in _AIORMQ_REFUSES


def _is_late(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or (
        _is_mongodbs(error) and getattr(error, "timeout", False)
    )


def _is_mongodbs(error: BaseException) -> bool:
    return any(kind.__module__ == "pymongo.errors" for kind in type(error).__mro__)


_ERRNO = re.compile(r"\[Errno (-?\d+)\]")
_AIORMQ_REFUSES = {"AuthenticationError", "ProbableAuthenticationError"}
"""By name: a process that uses the built-in client does not import aiormq."""
_REFUSED_USERS = {13: "Unauthorized", 18: "AuthenticationFailed", 8000: "AtlasError"}

_CLAUSES: tuple[tuple[Callable[[BaseException], bool], str], ...] = (
    (_met(errno.ECONNREFUSED), "which refuses connections"),
    (_met(socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL), "whose host has no known address"),
    (_says("DNS query name does not exist"), "whose host has no known address"),
    (_met(errno.EHOSTUNREACH, errno.ENETUNREACH), "which cannot be reached by the network"),
    (_says("Hostname mismatch", "IP address mismatch"), "whose certificate is for another host"),
    (_says("certificate verify failed"), "whose certificate is not from an authority trusted here"),
    (_says("alert certificate required"), "which asks for a certificate of ours"),
    (_is_tls, "with which TLS fails"),
    (_says("SSL handshake failed"), "with which TLS fails"),
    (_is_refused_user, "which refuses this user or password"),
    (
        lambda error: isinstance(error, VirtualHostRefused),
        "whose virtual host is missing, or closed to this user",
    ),
    # aiormq's message if RabbitMQ closes the connection instead.
    (_says("['Connection.OpenOk']"), "whose virtual host is missing, or closed to this user"),
    (_says("for replica set name"), "which is not in the replica set that it names"),
    (_says("Primary()", "No primary"), "which has no primary at the moment"),
    (_is_late, "which does not answer in time"),
)
"""The first match counts, so the certain causes come before the likely ones."""
