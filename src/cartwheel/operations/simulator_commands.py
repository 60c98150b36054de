"""The command line of `cartwheel simulator`."""

from typing import Annotated

import typer

from cartwheel.operations import typed
from cartwheel.operations.commands import Json
from cartwheel.simulator.fault_kinds import FaultKind, Step, steps_of

_KINDS = ", ".join(FaultKind)

simulator = typer.Typer(
    no_args_is_help=True, help="Make the payment simulator misbehave, and behave again."
)


@simulator.command()
def misbehave(
    kinds: Annotated[
        list[FaultKind], typer.Argument(metavar="KIND…", help=f"What goes wrong: {_KINDS}.")
    ],
    rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of requests at which it goes wrong.")
    ] = 1.0,
    count: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="How many times. Without it, until `behave`."),
    ] = None,
    payment: Annotated[
        str | None, typer.Option(metavar="ID", help="Only at this payment (pay_…).")
    ] = None,
    on: Annotated[
        Step | None, typer.Option(help="At which request. Without it, the kind's usual one.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, max=86_400, help="How late, for the kinds that are late.")
    ] = 10.0,
) -> None:
    """Let things go wrong at the payment simulator, each at its own share of requests.

    docs/simulator.md says what each kind does.
    """
    if rate == 0:
        raise typer.BadParameter("0 would be never", param_hint="--rate")
    for kind in kinds:
        if on is not None and on not in (possible := steps_of(kind)):
            raise typer.BadParameter(f"{kind} goes with {possible[0]} only", param_hint="--on")
    from cartwheel.operations import simulator as work

    wanted = [
        work.Wanted(
            kind=kind,
            on=on or steps_of(kind)[0],
            rate=rate,
            seconds=seconds,
            count=count,
            payment_id=payment,
        )
        for kind in kinds
    ]
    typed.run(work.misbehave(typed.settings(work.Settings), wanted), work.Refused)
    work.say_what_happens(wanted)


@simulator.command()
def behave() -> None:
    """Remove all faults. What has gone wrong stays so."""
    from cartwheel.operations import simulator as work

    typed.run(work.behave(typed.settings(work.Settings)), work.Refused)
    work.show([], typed.output())


@simulator.command("list")
def list_(json: Json = False) -> None:
    """List the faults still to come, oldest first."""
    from cartwheel.operations import simulator as work

    pending = typed.run(work.pending(typed.settings(work.Settings)), work.Refused)
    if json:
        work.show_json(pending, typed.output())
    else:
        work.show(pending, typed.output())
