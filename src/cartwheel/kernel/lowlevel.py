"""For processes that are no `Service`: they start, listen, ask and log by themselves.

    async def serve(settings: Settings, stop: asyncio.Event) -> None:
        connection = Connection(settings.rabbitmq_url, process="gateway")
        connection.add(bus := RpcClient())
        await connection.start()
        ...
        notify("READY=1")
        await stop.wait()

    run("gateway", Settings, serve)

SIGTERM and Ctrl-C set `stop`.
"""

from cartwheel.kernel._bus.connection import Connection
from cartwheel.kernel._bus.intake import PREFETCH
from cartwheel.kernel._bus.rpc_client import RemoteFailure, RpcClient
from cartwheel.kernel._core.telemetry import configure, continue_trace, trace_id
from cartwheel.kernel._process.listening import CannotListen, listen
from cartwheel.kernel._process.notify import notify
from cartwheel.kernel._process.running import run, unless_stopped

__all__ = [
    "PREFETCH",
    "CannotListen",
    "Connection",
    "RemoteFailure",
    "RpcClient",
    "configure",
    "continue_trace",
    "listen",
    "notify",
    "run",
    "trace_id",
    "unless_stopped",
]
