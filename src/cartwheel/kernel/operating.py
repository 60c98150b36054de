"""For the operators' commands: queues, dead letters and migrations."""

from cartwheel.kernel._amqp.interface import Message
from cartwheel.kernel._bus import topology, wire
from cartwheel.kernel._bus.consuming import ATTEMPTS, RETRIES_REQUESTED
from cartwheel.kernel._bus.dead_letters import read as read_dead_letter
from cartwheel.kernel._bus.hosts import connect_any
from cartwheel.kernel._store.migrations import apply_migrations, pending

__all__ = [
    "ATTEMPTS",
    "RETRIES_REQUESTED",
    "Message",
    "apply_migrations",
    "connect_any",
    "pending",
    "read_dead_letter",
    "topology",
    "wire",
]
