"""What can go wrong on demand, and when."""

from enum import StrEnum


class Step(StrEnum):
    """What a fault makes go wrong: a request of the shop's server, or a customer's answer."""

    CONFIRM = "confirm"
    """A charge: a confirmation, or an intent that is created and confirmed in one call."""
    REFUND = "refund"
    CANCEL = "cancel"
    CAPTURE = "capture"
    LOOK_UP = "look_up"
    """Reading a payment by its id."""
    ANSWER = "answer"
    """A customer's answer on a page of the simulator."""


REQUESTS = tuple(step for step in Step if step is not Step.ANSWER)
"""The steps that the shop's server takes."""


class FaultKind(StrEnum):
    """What goes wrong; see `EFFECTS`."""

    ANSWER_LATE = "answer_late"
    CHARGE_LATE = "charge_late"
    DROP = "drop"
    CHARGE_THEN_DROP = "charge_then_drop"
    ERROR = "error"
    CHARGE_THEN_ERROR = "charge_then_error"
    CHARGE_WRONG_AMOUNT = "charge_wrong_amount"
    WEBHOOK_LATE = "webhook_late"
    WEBHOOK_TWICE = "webhook_twice"
    WEBHOOK_OUT_OF_ORDER = "webhook_out_of_order"
    WEBHOOK_NEVER = "webhook_never"
    WEBHOOK_LIES = "webhook_lies"
    DISPUTE = "dispute"
    CAPTURE_FAILS = "capture_fails"
    LAPSES_EARLY = "lapses_early"
    NEVER_ANSWERED = "never_answered"
    REFUND_FAILS = "refund_fails"
    REFUND_FAILS_LATE = "refund_fails_late"


EFFECTS = {
    FaultKind.ANSWER_LATE: "charges at once, answers after `seconds` "
    "(its webhook then arrives before the answer)",
    FaultKind.CHARGE_LATE: "charges after `seconds`, unless canceled meanwhile, then answers",
    FaultKind.DROP: "closes the connection without charging and without an answer",
    FaultKind.CHARGE_THEN_DROP: "charges, then closes the connection without an answer",
    FaultKind.ERROR: "answers 500 without charging",
    FaultKind.CHARGE_THEN_ERROR: "charges, then answers 500",
    FaultKind.CHARGE_WRONG_AMOUNT: "charges one minor unit too much, and says so",
    FaultKind.WEBHOOK_LATE: "sends the webhook after `seconds`",
    FaultKind.WEBHOOK_TWICE: "sends the same event id twice",
    FaultKind.WEBHOOK_OUT_OF_ORDER: "sends the webhook after a younger one, "
    "or after `seconds` if there is none",
    FaultKind.WEBHOOK_NEVER: "sends no webhook",
    FaultKind.WEBHOOK_LIES: "names another amount in the webhook than was charged",
    FaultKind.DISPUTE: "charges, and lets the customer's bank open a dispute after `seconds`",
    FaultKind.CAPTURE_FAILS: "answers 402 `card_declined`; the authorization stands",
    FaultKind.LAPSES_EARLY: "authorizes, and lets that lapse after `seconds`",
    FaultKind.NEVER_ANSWERED: "loses the customer's answer to a challenge or in the wallet: "
    "the payment goes on waiting",
    FaultKind.REFUND_FAILS: "answers that the refund failed; no money moves",
    FaultKind.REFUND_FAILS_LATE: "refunds, answers so, and lets the refund fail after `seconds`",
}
"""What happens. At a step other than a charge, read that step for "charge"."""

_OF_CHARGES = frozenset({FaultKind.CHARGE_WRONG_AMOUNT, FaultKind.DISPUTE, FaultKind.LAPSES_EARLY})
_OF_WEBHOOKS = frozenset(kind for kind in FaultKind if kind.startswith("webhook_"))
_OF_REFUNDS = frozenset({FaultKind.REFUND_FAILS, FaultKind.REFUND_FAILS_LATE})


def steps_of(kind: FaultKind) -> tuple[Step, ...]:
    """Return the steps at which `kind` can occur, the usual one first."""
    if kind in _OF_CHARGES:
        return (Step.CONFIRM,)
    if kind in _OF_WEBHOOKS:
        return (Step.CONFIRM, Step.ANSWER)
    if kind is FaultKind.NEVER_ANSWERED:
        return (Step.ANSWER,)
    if kind in _OF_REFUNDS:
        return (Step.REFUND,)
    if kind is FaultKind.CAPTURE_FAILS:
        return (Step.CAPTURE,)
    return REQUESTS
