"""The output of `cartwheel setup`: a short list, and the commands that the operator has to run."""

import shlex
from collections.abc import Iterator

from cartwheel.operations import typed
from cartwheel.operations.declared import Older
from cartwheel.operations.quorum.tending import Tended
from cartwheel.operations.setup import Outcome


def show(outcome: Outcome, *, dry_run: bool) -> None:
    console = typed.output()
    for line in _lines(outcome, dry_run=dry_run):
        console.out(line, highlight=False)


def _lines(outcome: Outcome, *, dry_run: bool) -> Iterator[str]:
    for thing in outcome.missing:
        yield f"would declare {thing}"
    if outcome.unseen:
        yield outcome.unseen
    yield from _about_older(outcome.older, dry_run=dry_run)
    for name, count in outcome.migrations.items():
        todo = f"{'would run ' if dry_run else ''}{count} migrations"
        yield f"{name}: {todo if count else 'up to date'}"
    yield from _about_members(outcome.queues)


def _about_older(older: Older, *, dry_run: bool) -> Iterator[str]:
    for name in older.deleted:
        yield f"{'would delete' if dry_run else 'deleted'} queue {name} of an older version"
    if older.used:
        yield (
            f"{', '.join(older.used)}: kept for processes of an older version. When all of them "
            "are replaced, run `cartwheel setup --drop-older`"
        )


def _about_members(queues: Tended) -> Iterator[str]:
    yield from queues.done
    if queues.state:
        yield queues.state
    for trouble in queues.troubles:
        yield f"! {trouble}"
    if queues.commands:
        yield "Run this on RabbitMQ's machine, as its user, and then `cartwheel setup` again:"
    for command in queues.commands:
        yield f"    {shlex.join(command)}"
