"""What happened to an order or a payment, in one form, so that causes can be followed."""

import inspect
from datetime import datetime

import msgspec

from cartwheel.kernel import Event


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened.

    `text` says it in a sentence. `by` is a user id, or the name of a service or a job. `note` is
    what somebody wrote about it. `event_id` is the event that told of it; without one, nobody was
    told. `because_of` is the event that caused it, if one did: the `event_id` of an entry of an
    order or a payment. All that one request of a client has caused has its `trace_id`.

    Entries from before these fields were kept have neither ids.
    """

    type: str
    at: datetime
    by: str
    note: str | None = None
    text: str | None = None
    event_id: str | None = None
    because_of: str | None = None
    trace_id: str | None = None


def sentence(event: type[Event]) -> str:
    """Return what has happened, in the first sentence of the event's docstring."""
    text = (inspect.getdoc(event) or "").partition("\n\n")[0].replace("\n", " ")
    return f"{text.partition('. ')[0].rstrip('.')}."
