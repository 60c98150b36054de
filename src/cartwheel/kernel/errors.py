"""What can go wrong: refusals and outages, two separate families.

    Refusal                  an answer: the request was understood and will not be done
    ├── Invalid              the input breaks a rule                      422
    ├── Unauthenticated      the caller is unknown                        401
    ├── Forbidden            the caller is known, but not allowed         403
    ├── NotFound             it does not exist, or is hidden from you     404
    ├── Conflict             the thing's state does not allow it          409
    ├── Stale                it has changed since you read it             412
    └── Throttled            too many requests; try again later           429
    Outage                   a dependency is down or too slow
    ├── Unavailable          not done; try again                          503
    │   └── Contention       not done: others changed the same data       503
    ├── Overloaded           not done: too many requests are waiting      503
    ├── OutcomeUnknown       may or may not have been done                503
    └── TimedOut             no answer within the deadline                504

An event's handler may also raise one of these, which no caller ever sees:

    RetryLater               retry this event later
    DeadLetter               dead-letter this event at once

Services subclass a kind of refusal in their contract, with a code that never changes.
Only `gateway.problems` knows about HTTP.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """A field of the input that breaks a rule; `field` is a path such as `items[0].quantity`."""

    field: str
    message: str


class Refusal(Exception):
    """Base class of all refusals.

    A handler raises it (in a batch, returns it in the request's place). The caller gets an instance
    of the same class. `code` is stable and part of the API. `detail` and the errors' messages are
    full sentences for people. `members` are further facts for programs, by name: the
    problem document has them beside its own members.
    """

    code: ClassVar[str] = "refused"
    by_code: ClassVar[dict[str, type["Refusal"]]] = {}

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.members = members or {}

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
    """Base class of all outages: each ends by itself once a dependency recovers."""

    code: ClassVar[str] = "unavailable"


class Unavailable(Outage):
    """A dependency is down. Nothing was done.

    Try again after the seconds in `Retry-After`.
    """

    code = "unavailable"


class Contention(Unavailable):
    """Nothing is down, but others kept changing the same data until time ran out."""


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
    """Raised by an event's handler: this event failed, but others may succeed.

    It is retried after 5 s, then every 60 s, for as long as the handler raises this. The handler
    counts its failures, and gives up with `DeadLetter`.
    """


class DeadLetter(Exception):
    """Raised by an event's handler: retrying is useless. The event is dead-lettered at once, with
    this exception's text as the reason."""
