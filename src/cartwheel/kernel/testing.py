"""For tests and benchmarks of services: a service without its queues, and the format of events."""

from cartwheel.kernel._bus.consuming import Consumer
from cartwheel.kernel._bus.rpc_server import Answers
from cartwheel.kernel._bus.topology import EXCHANGE, REQUEST_DEADLINE_SECONDS
from cartwheel.kernel._bus.wire import StoredEvent
from cartwheel.kernel._core.crash_points import POINTS
from cartwheel.kernel._core.deadline import until
from cartwheel.kernel._core.messages import answer_type
from cartwheel.kernel._core.outages import is_outage
from cartwheel.kernel._store import lease

__all__ = [
    "EXCHANGE",
    "POINTS",
    "REQUEST_DEADLINE_SECONDS",
    "Answers",
    "Consumer",
    "StoredEvent",
    "answer_type",
    "is_outage",
    "lease",
    "until",
]
