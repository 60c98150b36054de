"""One round: start, sell under faults, heal, wait until quiet, and check the promises."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from cartwheel.local.console import QUIET, Console

from .customers import trading
from .evidence import Evidence, collect
from .faults import Fault, heal, inject
from .history import History
from .promises import Violation, orders_concerned, violations
from .quiet import NotQuiet, quiet
from .rig import Rig, rigged
from .story import story
from .verified import verified

HOLD_CHECK_AFTER = 20
BOUNDS = {"MAX_OPEN_ORDERS": "7", "MAX_PIECES_PER_LINE": "5"}
"""So that customers meet them: five share an account, and each forgets an order now and then."""
STORIES = 3


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A round. `rigged` explains `numbers`, `replicated` and `jumping_clocks`.

    `payment_deadline` is in seconds; None keeps the default of 15 minutes. `settings` are variables
    of every process.
    """

    seed: int
    faults: Callable[[random.Random], list[Fault]]
    customers: int = 20
    numbers: Mapping[str, int] = {}
    replicated: bool = False
    jumping_clocks: bool = False
    purchases: int = 40
    think: float = 1.0
    payment_deadline: int | None = None
    quiet_within: float = 240.0
    settings: Mapping[str, str] = {}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    plan: Plan
    requests: int
    answers: Counter[str]
    orders: Counter[str]
    payments: Counter[str]
    faults: int
    seconds: float
    found: list[Violation]
    stories: list[str]

    def __str__(self) -> str:
        what = (
            f"seed {self.plan.seed}: {self.requests} requests, {self.faults} faults in"
            f" {self.seconds:.0f} s; answers {_counted(self.answers)};"
            f" orders {_counted(self.orders)}; payments {_counted(self.payments)};"
            f" {len(self.found)} violations"
        )
        told = [f"  promise {each.promise}: {each.what} ({each.order_id})" for each in self.found]
        kinds = [f"{what}", *told[:40], *(f"\n{text}" for text in self.stories)]
        return "\n".join(kinds)


async def play(plan: Plan, home: Path, console: Console = QUIET) -> Result:
    """Run a round in the folder `home`, which must be empty; return its result."""
    dice = random.Random(plan.seed)  # noqa: S311 repeatable, not secret
    started = time.monotonic()
    history = History(home / "history.jsonl")
    settings = {
        # All customers come from one address.
        "RATE_LIMITS": "off",
        "OPERATIONS_MAIL": "operations@example.com",
        "PLACED_MAIL": "on",
        "HOLD_CHECK_AFTER_SECONDS": str(HOLD_CHECK_AFTER),
        **BOUNDS,
        **plan.settings,
    }
    if plan.payment_deadline is not None:
        settings["PAYMENT_DEADLINE_SECONDS"] = str(plan.payment_deadline)
        settings["ACTION_DEADLINE_SECONDS"] = str(plan.payment_deadline)
    try:
        async with rigged(
            home,
            settings=settings,
            numbers=plan.numbers,
            replicated=plan.replicated,
            jumping_clocks=plan.jumping_clocks,
            console=console,
        ) as rig:
            found: list[Violation] = []
            try:
                found += await _trade_under_faults(rig, plan, history, dice, console)
                with console.doing("waiting until quiet"):
                    await quiet(
                        rig.system,
                        within=plan.quiet_within,
                        deadline=plan.payment_deadline is not None,
                    )
            except (NotQuiet, TimeoutError) as error:
                found.append(Violation(5, f"not quiet: {error or 'customers never finish'}"))
            found += await verified(rig.system)
            evidence = await collect(rig.system, history, settings)
    finally:
        history.close()
    found += violations(evidence)
    return _result(plan, evidence, history, found, home / "logs", time.monotonic() - started)


async def _trade_under_faults(
    rig: Rig, plan: Plan, history: History, dice: random.Random, console: Console
) -> list[Violation]:
    """Return the effects of faults that they must not have."""
    faults = plan.faults(dice)
    async with trading(
        rig.system.url,
        history,
        seed=plan.seed,
        customers=plan.customers,
        purchases=plan.purchases,
        think=plan.think,
    ) as finish:
        with console.doing(f"{plan.customers} customers, {len(faults)} faults"):
            harmed = await inject(rig, faults, history, dice)
        with console.doing("healing"):
            await heal(rig)
            history.fault("healed")
        with console.doing("customers finish"):
            await finish()
    return harmed


def _result(
    plan: Plan,
    evidence: Evidence,
    history: History,
    found: list[Violation],
    logs: Path,
    seconds: float,
) -> Result:
    stories = [
        f"The story of {order_id}:\n{story(order_id, evidence, history, logs)}"
        for order_id in orders_concerned(found)
    ]
    return Result(
        plan=plan,
        requests=len(history.calls),
        answers=Counter(str(call.status or "none") for call in history.calls),
        orders=Counter(order["status"] for order in evidence.orders.values()),
        payments=Counter(payment["status"] for payment in evidence.payments.values()),
        faults=len(history.faults),
        seconds=seconds,
        found=found,
        stories=sorted(stories, key=len)[:STORIES],
    )


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counter.items()))
