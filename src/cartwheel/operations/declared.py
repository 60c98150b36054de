"""Checks of the queues and exchanges that `cartwheel setup` declares.

A passive declaration (AMQP) shows whether a queue exists. Only an active one shows whether an
existing queue has our arguments; on an existing queue it changes nothing.
"""

import re
from collections.abc import Iterable

import msgspec
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from cartwheel.kernel.operating import topology
from cartwheel.kernel.servers import Unusable

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>\w+) '(?P<name>[^']+)' in vhost "
    r"'(?P<vhost>[^']*)': received (?P<ours>.+) but current is (?P<theirs>.+)"
)
_VALUE = re.compile(r"the value '([^']*)' of type '\w+'")


async def missing(connection: AbstractConnection, services: Iterable[str]) -> list[str]:
    """Return the missing exchanges and queues, such as `queue events.orders`.

    Raises:
        ChannelPreconditionFailed: one exists with other arguments; see `otherwise`.
    """
    found: list[str] = []
    async with connection.channel() as channel:
        version = await topology.rabbitmq_version(channel)
    for exchange in topology.EXCHANGES:
        if not await _is_there(connection, exchange=exchange):
            found.append(f"exchange {exchange}")
    for service in services:
        for name, arguments in topology.quorum_arguments(service, version).items():
            if not await _is_there(connection, queue=name):
                found.append(f"queue {name}")
            else:
                async with connection.channel() as channel:
                    await channel.declare_queue(name, durable=True, arguments={**arguments})
    return found


class Older(msgspec.Struct, frozen=True):
    """Queues that only the previous version uses.

    `used` ones still have a consumer or messages; the others were deleted.
    """

    deleted: tuple[str, ...] = ()
    used: tuple[str, ...] = ()


async def delete_older(
    connection: AbstractConnection, services: Iterable[str], *, used_too: bool, dry_run: bool
) -> Older:
    """Delete the previous version's queues that are not in use; with `used_too`, all of them.

    A dry run only returns which.
    """
    deleted: list[str] = []
    used: list[str] = []
    for name in map(topology.shared_request_queue, services):
        try:
            async with connection.channel() as channel:
                found = (await channel.declare_queue(name, passive=True)).declaration_result
                if not used_too and (found.consumer_count or found.message_count):
                    used.append(name)
                    continue
                if not dry_run:
                    unused = not used_too
                    await channel.queue_delete(name, if_unused=unused, if_empty=unused)
            deleted.append(name)
        except ChannelNotFoundEntity:
            continue
        except ChannelPreconditionFailed:  # a consumer or a message arrived in the meantime
            used.append(name)
    return Older(tuple(deleted), tuple(used))


async def _is_there(connection: AbstractConnection, *, queue: str = "", exchange: str = "") -> bool:
    # One channel per check: RabbitMQ closes the channel if the queue or exchange is missing.
    try:
        async with connection.channel() as channel:
            if queue:
                await channel.declare_queue(queue, passive=True)
            else:
                await channel.get_exchange(exchange)
    except ChannelNotFoundEntity:
        return False
    return True


def otherwise(error: ChannelPreconditionFailed) -> Unusable:
    """Return the error for a queue that exists with other arguments than ours."""
    found = _INEQUIVALENT.search(str(error))
    if found is None:
        return Unusable(f"RabbitMQ refuses the declaration: {error}")
    ours, theirs = (_VALUE.sub(r"\1", found[name]) for name in ("ours", "theirs"))
    name = found["name"]
    how = (
        "replay or drop what it holds (cartwheel dlq)"
        if name.startswith("dead.")
        else "let its service empty it"
    )
    return Unusable(
        f"{found['kind']} {name} in virtual host {found['vhost']} has another "
        f"{found['argument']} ({theirs}) than this version declares ({ours}), and RabbitMQ takes "
        f"it only from a new {found['kind']}: {how}, delete it, and run `cartwheel setup` again"
    )
