"""The faults of a round, drawn with its seed."""

import random
from collections.abc import Callable, Sequence

from cartwheel.services import SERVICES

from ..scripted_ses import FAILS, Answer
from . import bad_neighbours, failovers, faults
from .faults import CRASHES, Fault
from .rig import PARTS

OTHERS = 22
"""The number of random faults in a long round, in addition to the fixed ones."""

JUMPS = (-600, -5, 5, 120)
"""Seconds. The documentation asks for clocks that agree within about a second."""

_SES = (
    Answer(403, "InvalidSignatureException"),
    Answer(400, "SendingPausedException"),
    Answer(429, "TooManyRequestsException"),
    FAILS,
)


def short(dice: random.Random) -> list[Fault]:
    """Return one fault of each kind. Those that delay mail the longest come first."""
    first = [faults.kill("notifications", wait=False), faults.kill("mongod")]
    rest = [
        *(faults.kill(name, wait=False) for name in ("products", "orders", "payments", "gateway")),
        faults.kill("simulator", wait=False),
        faults.kill("rabbitmq"),
        faults.cut(None, "rabbitmq"),
        faults.cut(None, "mongod"),
        faults.freeze(None, "rabbitmq", dice.uniform(5, 6)),
        faults.refuse("notifications", "aws", 3),
        faults.ses_fails(dice.choice(_SES), 3),
        faults.stop_and_continue(dice.choice(SERVICES), 3),
        faults.disorder(dice.choice(SERVICES), 3),
        *(faults.crash(name, point, dice.randint(2, 6)) for name, point in dice.sample(CRASHES, 2)),
    ]
    dice.shuffle(rest)
    return [
        faults.provider(2, 3),
        faults.money_comes_back(2, 2),
        *first,
        *rest,
    ]


def long(
    dice: random.Random,
    crashes: Sequence[tuple[str, str]],
    names: Sequence[str],
    *,
    replicated: bool,
    jumping_clocks: bool,
) -> list[Fault]:
    """Return all kinds of faults, in random order.

    Args:
        crashes: processes, and named points at which they kill themselves.
        names: all of our own processes, including further replicas.
    """
    way = _ways(replicated)
    parts = ["rabbitmq", "simulator"] if replicated else ["rabbitmq", "mongod", "simulator"]
    sorts: list[Callable[[], Fault]] = [
        lambda: faults.kill(dice.choice(names)),
        lambda: faults.kill(dice.choice(names)),
        lambda: faults.kill(dice.choice(parts)),
        lambda: faults.restart(dice.choice(names)),
        lambda: faults.stop_and_continue(dice.choice(names), dice.uniform(1, 5)),
        lambda: faults.stop_and_continue(dice.choice([*SERVICES, *parts]), dice.uniform(5, 15)),
        lambda: faults.cut(*way(dice)),
        lambda: faults.refuse(*way(dice), dice.uniform(1, 12)),
        lambda: faults.freeze(*way(dice), dice.uniform(2, 15)),
        lambda: faults.break_off(*way(dice), dice.uniform(1, 6)),
        lambda: faults.disorder(dice.choice(SERVICES), dice.uniform(2, 8)),
        lambda: faults.alarm(dice.uniform(1, 12)),
        lambda: faults.ses_fails(dice.choice(_SES), dice.uniform(2, 15)),
    ]
    if jumping_clocks:
        sorts.append(
            lambda: faults.clock_jumps(
                dice.choice(SERVICES), dice.choice(JUMPS), dice.uniform(3, 10)
            )
        )
    drawn = [faults.crash(name, point, dice.randint(1, 20)) for name, point in crashes]
    drawn += [sorts[number % len(sorts)]() for number in range(OTHERS)]
    drawn += [faults.provider(dice.randint(1, 8), dice.uniform(1, 20)) for _ in range(2)]
    drawn += [
        faults.money_comes_back(dice.randint(2, 5), dice.uniform(2, 8)),
        faults.webhooks_lie(dice.uniform(2, 8)),
        bad_neighbours.event_kills_its_reader(dice.choice(SERVICES)),
        bad_neighbours.retries_are_refused(
            dice.choice(SERVICES), dice.uniform(2, 8), full=dice.choice([True, False])
        ),
        bad_neighbours.one_payment_fails(),
        bad_neighbours.a_dead_letter_waits(dice.choice(SERVICES)),
        bad_neighbours.mail_is_refused(dice.uniform(2, 8)),
        faults.reconcile(),
        bad_neighbours.most_mail_fails(dice.uniform(30, 45)),
    ]
    if replicated:
        drawn += _failovers(dice)
    else:
        drawn.append(faults.step_down(dice.randint(2, 8)))
    dice.shuffle(drawn)
    return drawn


def _failovers(dice: random.Random) -> list[Fault]:
    return [
        failovers.kill_primary(dice.uniform(2, 8)),
        failovers.roll_back(dice.uniform(7, 10)),
        failovers.lose_a_secondary(dice.uniform(2, 8)),
        failovers.step_down(dice.randint(3, 10)),
        failovers.stop_primary(dice.uniform(3, 12)),
    ]


def _ways(replicated: bool) -> Callable[[random.Random], tuple[str | None, str]]:
    parts = [part for part in PARTS if part != "mongod" or not replicated]

    def way(dice: random.Random) -> tuple[str | None, str]:
        """Return a process (None: all) and one of its dependencies.

        Only notifications uses AWS all the time.
        """
        part = dice.choice(parts)
        return "notifications" if part == "aws" else dice.choice([None, *SERVICES]), part

    return way
