"""Connects by the client that the setting AMQP_CLIENT names."""

from cartwheel.kernel._amqp import built_in
from cartwheel.kernel._amqp.interface import Connection
from cartwheel.kernel.settings import AmqpClient


async def connect(
    url: str, *, name: str, heartbeat: int, client: AmqpClient = "built-in"
) -> Connection:
    """Connect to the virtual host that `url` names. `heartbeat` is in seconds.

    Without a time limit, so give it one.

    Raises:
        BadUrl: it has an option that the client does not know.
        AccessRefused, VirtualHostRefused: RabbitMQ refuses.
        ConnectionLost, OSError: it cannot be reached, or goes meanwhile.
    """
    if client == "built-in":
        return await built_in.connect(url, name=name, heartbeat=heartbeat)
    # Here, so that a process has the library in memory only if it uses it.
    from cartwheel.kernel._amqp import library

    return await library.connect(url, name=name, heartbeat=heartbeat)
