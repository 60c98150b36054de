"""What can go wrong. Refusals and outages are two families that are never mixed.

    Refusal                  an answer: the request was understood and will not be done
    ├── Invalid              the input breaks a rule                      422
    ├── Unauthenticated      nobody known is asking                       401
    ├── Forbidden            somebody known, who may not                  403
    ├── NotFound             no such thing, or not yours to see           404
    ├── Conflict             the thing's state does not allow it          409
    ├── Stale                it has changed since you read it             412
    └── Throttled            too often; later                             429
    Outage                   nobody's fault: a part is away or too slow
    ├── Unavailable          certainly not done; try again                503
    │   └── Contention       others change the same; certainly not done   503
    ├── Overloaded           too much is waiting; certainly not done      503
    ├── OutcomeUnknown       may or may not have been done                503
    └── TimedOut             no answer within the deadline                504

Handlers of events have two more answers, which no caller ever sees:

    RetryLater               this event's own trouble: handle it again later
    DeadLetter               this event's own trouble: it is not handled again by itself

Services subclass a kind of refusal in their contract, with a code that never changes.
Only `gateway.problems` knows about HTTP.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One field of the input that broke a rule; `field` is a path such as `items[0].quantity`."""

    field: str
    message: str


class Refusal(Exception):
    """Base of everything a service may answer instead of doing what it was asked.

    A handler raises it (or, in a batch, returns it in the request's place); the caller gets an
    instance of the same class. `code` is stable and part of the API.
    """

    code: ClassVar[str] = "refused"
    by_code: ClassVar[dict[str, type["Refusal"]]] = {}

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)

    def __init_subclass__(cls) -> None:
        Refusal.by_code[cls.code] = cls


class Invalid(Refusal):
    """The request breaks a rule.

    Correct the fields that `errors` names.
    """

    code = "invalid"


class BadCursor(Invalid):
    """The `cursor` does not come from a list.

    Send `next_cursor` of the page before as it is, or no cursor for the first page.
    """

    code = "invalid_cursor"


class Unauthenticated(Refusal):
    """The request proves no identity: it has no access token, or a webhook has no signature.

    Log in, and send the access token as `Authorization: Bearer …`.
    """

    code = "unauthenticated"


class Forbidden(Refusal):
    """The user may not do this.

    Log in as an administrator.
    """

    code = "forbidden"


class NotFound(Refusal):
    """There is no such thing, or the user may not see it.

    Check the id.
    """

    code = "not_found"


class Conflict(Refusal):
    """The state of the thing does not allow the request.

    Read the thing again, then decide.
    """

    code = "conflict"


class Stale(Refusal):
    """The thing has changed since the client read it.

    Read it again, then repeat the change.
    """

    code = "stale"


class Throttled(Refusal):
    """There were too many attempts.

    Wait as long as `Retry-After` says, then try again.
    """

    code = "too_many_requests"


class Outage(Exception):
    """Base of everything that passes by itself once a part is back."""

    code: ClassVar[str] = "unavailable"


class Unavailable(Outage):
    """A dependency is down. Nothing was done.

    Try again after the seconds in `Retry-After`.
    """

    code = "unavailable"


class Contention(Unavailable):
    """Nothing is down: others kept changing the same things until time was up."""


class Overloaded(Outage):
    """Too many requests or connections are waiting. Nothing was done.

    Try again after the seconds in `Retry-After`.
    """

    code = "overloaded"


class OutcomeUnknown(Outage):
    """The answer was lost. The request may or may not have been done.

    Send the same request again, with the same `Idempotency-Key` if it had one.
    """

    code = "outcome_unknown"


class TimedOut(Outage):
    """No answer came in time. The request may or may not have been done.

    Send the same request again, with the same `Idempotency-Key` if it had one.
    """

    code = "timed_out"


class RetryLater(Exception):
    """Raised by the handler of an event: this event has failed, while others may do well.

    It is tried again after 5 s, then every 60 s, for as long as its handler raises this. The
    handler counts, and ends it by `DeadLetter`.
    """


class DeadLetter(Exception):
    """Raised by the handler of an event: trying it again is useless. It is dead-lettered at once,
    with this exception's text as the reason."""
