"""For processes that are not a `Service`: they start, listen, send requests and log themselves.

    async def serve(settings: Settings, stop: Stop) -> None:
        connection = Connection(settings.rabbitmq_url, process="gateway")
        connection.add(bus := RpcClient())
        await connection.start()
        ...
        notify("READY=1")
        await stop.wait()

    run("gateway", Settings, serve)

SIGTERM and Ctrl-C set `stop`. A second one ends `stop.drained(…)`.
"""

from cartwheel.kernel._bus.connection import Connection
from cartwheel.kernel._bus.intake import PREFETCH
from cartwheel.kernel._bus.rpc_client import RemoteFailure, RpcClient
from cartwheel.kernel._core.telemetry import configure, continue_trace, trace_id
from cartwheel.kernel._process.listening import CannotListen, listen
from cartwheel.kernel._process.notify import notify
from cartwheel.kernel._process.running import Stop, no_core_dumps, run, unless_stopped

__all__ = [
    "PREFETCH",
    "CannotListen",
    "Connection",
    "RemoteFailure",
    "RpcClient",
    "Stop",
    "configure",
    "continue_trace",
    "listen",
    "no_core_dumps",
    "notify",
    "run",
    "trace_id",
    "unless_stopped",
]
