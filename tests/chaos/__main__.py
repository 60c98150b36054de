"""The long form: `make chaos SEED=7 ROUNDS=10`, or `python -m tests.chaos`.

The rounds' seeds are SEED and the numbers after it, so `SEED=8 ROUNDS=1` repeats the second round
of `SEED=7`. The folder of a failed round is kept.
"""

import asyncio
import os
import random
import shutil
import sys
import time
from pathlib import Path

from cartwheel.kernel.lowlevel import configure
from cartwheel.local.console import Console
from cartwheel.local.packages import Missing
from cartwheel.local.processes import PROCESSES, replicas

from . import clocks, schedule
from .faults import CRASHES, Fault
from .rig import OWN
from .round import Plan, play

FOLDER = Path(".chaos")
CRASHES_A_ROUND = 4


def crashes_of(seed: int) -> list[tuple[str, str]]:
    """Return the crash points of a round. Nine consecutive rounds cover all of them."""
    first = seed * CRASHES_A_ROUND
    return [CRASHES[(first + number) % len(CRASHES)] for number in range(CRASHES_A_ROUND)]


def plan_of(seed: int, *, jumping_clocks: bool) -> Plan:
    """Return the plan of a round.

    In every third round all processes run twice, otherwise only one of them. In every second round
    MongoDB has three members. In every second pair of rounds, cards are charged at shipment.
    """
    numbers = dict.fromkeys(OWN if seed % 3 == 0 else [OWN[seed % len(OWN)]], 2)
    names = [
        copy.name
        for process in PROCESSES
        for copy in replicas(process, numbers.get(process.name, 1))
    ]
    replicated = seed % 2 == 0

    def drawn(dice: random.Random) -> list[Fault]:
        return schedule.long(
            dice,
            crashes_of(seed),
            [name for name in names if name != "simulator"],
            replicated=replicated,
            jumping_clocks=jumping_clocks,
        )

    dice = random.Random(-seed)  # noqa: S311 repeatable, not secret
    return Plan(
        seed=seed,
        faults=drawn,
        customers=24,
        purchases=400,
        think=1.2,
        payment_deadline=dice.choice([None, 20]),
        numbers=numbers,
        replicated=replicated,
        jumping_clocks=jumping_clocks,
        settings={"CARD_CAPTURE": "shipment" if seed // 2 % 2 else "now"},
        # Times written with a clock that was ahead are due that much later.
        quiet_within=240 + (max(schedule.JUMPS) if jumping_clocks else 0),
    )


async def run(seed: int, rounds: int) -> int:
    console = Console()
    jumping_clocks = _can_jump(console)
    red = 0
    for number in range(rounds):
        plan = plan_of(seed + number, jumping_clocks=jumping_clocks)
        home = FOLDER / f"seed-{plan.seed}"
        shutil.rmtree(home, ignore_errors=True)
        console.say(f"round {number + 1} of {rounds}: seed {plan.seed}")
        result = await play(plan, home.absolute(), console)
        console.say(str(result))
        (FOLDER / "results.txt").open("a").write(f"{result}\n")
        if result.found:
            red += 1
            console.say(f"✗ again: make chaos SEED={plan.seed} ROUNDS=1; everything is in {home}")
        else:
            shutil.rmtree(home)
    console.say(f"{'✗' if red else '✓'} {rounds - red} of {rounds} rounds without a violation")
    return 1 if red else 0


def _can_jump(console: Console) -> bool:
    try:
        clocks.install(console)
    except Missing as missing:
        console.say(f"clocks do not jump: {missing}")
        return False
    return True


def main() -> None:
    configure("chaos", "CRITICAL")
    seed = int(os.environ.get("SEED") or time.time() % 1_000_000)
    rounds = int(os.environ.get("ROUNDS") or 3)
    try:
        sys.exit(asyncio.run(run(seed, rounds)))
    except KeyboardInterrupt:  # all processes have been stopped
        sys.exit(130)


if __name__ == "__main__":
    main()
