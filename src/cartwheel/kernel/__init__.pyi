from ._bus.consuming import on, on_batch
from ._bus.dead_letters import DeadLettered, DeadLetters
from ._bus.rpc_server import answer, answer_batch, answer_together
from ._core.backoff import backoff
from ._core.batcher import Batcher, Gather
from ._core.clock import utc_now
from ._core.ids import new_id
from ._core.jobs import Items, for_each, in_batches
from ._core.messages import (
    Answer,
    Bus,
    Change,
    Clock,
    CloudEvent,
    Created,
    Event,
    Page,
    Request,
    event,
    request,
)
from ._core.telemetry import log
from ._core.time_left import time_left
from ._core.wait_for import install_wait_for
from ._process.process import Core, Job
from ._process.service import Collection, Service, Wiring, every
from .settings import ServiceSettings

__all__ = [
    "Answer",
    "Batcher",
    "Bus",
    "Change",
    "Clock",
    "CloudEvent",
    "Collection",
    "Core",
    "Created",
    "DeadLettered",
    "DeadLetters",
    "Event",
    "Gather",
    "Items",
    "Job",
    "Page",
    "Request",
    "Service",
    "ServiceSettings",
    "Wiring",
    "answer",
    "answer_batch",
    "answer_together",
    "backoff",
    "event",
    "every",
    "for_each",
    "in_batches",
    "install_wait_for",
    "log",
    "new_id",
    "on",
    "on_batch",
    "request",
    "time_left",
    "utc_now",
]
