"""The command line of `cartwheel refund` and `cartwheel disputes`."""

from typing import Annotated

import typer

from cartwheel.contracts.parcels import Pieces
from cartwheel.contracts.payments import DisputeStatus
from cartwheel.contracts.text import one_line
from cartwheel.kernel.errors import Refusal
from cartwheel.operations import typed
from cartwheel.operations.commands import Json
from cartwheel.operations.reaching import BusSettings


def _reason(given: str) -> str:
    if not given or one_line(given, longest=500) != given:
        raise typer.BadParameter("one line of text is needed, of at most 500 characters")
    return given


def _pieces(given: list[str]) -> list[Pieces]:
    pieces: list[Pieces] = []
    for each in given:
        product_id, _, quantity = each.rpartition("=")
        if not product_id or not quantity.isdecimal() or int(quantity) < 1:
            raise typer.BadParameter(f"{each} is not PRODUCT=PIECES, such as prd_01a2=3")
        pieces.append(Pieces(product_id=product_id, quantity=int(quantity)))
    return pieces


def refund(
    payment: Annotated[str, typer.Argument(metavar="PAYMENT", help="The payment's id (pay_…).")],
    reason: Annotated[
        str,
        typer.Option(help="Why, in a few words. The customer may see it.", callback=_reason),
    ],
    amount: Annotated[
        str | None,
        typer.Option(help="How much, such as 19.99. Without it, all that is left."),
    ] = None,
    line: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRODUCT=PIECES", help="Refund these pieces at the order's price; may repeat."
        ),
    ] = None,
    by_other_means: Annotated[
        bool,
        typer.Option(
            "--by-other-means",
            help="Only record that the money was paid back in another way.",
        ),
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(help="The same key and values refund once, however often they are sent."),
    ] = None,
    json: Json = False,
) -> None:
    """Refund a payment, or a part of it.

    After a refund that failed, this refunds its amount again, under a new id. Use --by-other-means
    if the provider cannot refund it.
    """
    lines = _pieces(line or [])
    if lines and amount is not None:
        raise typer.BadParameter("give one of them", param_hint="--amount or --line")
    from cartwheel.operations import refunds as work

    made = typed.run(
        work.refunded(
            typed.settings(BusSettings),
            payment,
            reason=reason,
            amount=amount,
            lines=lines,
            by_other_means=by_other_means,
            key=key,
        ),
        Refusal,
    )
    if json:
        work.show_json(made, typed.output())
    else:
        work.show_refund(made)


def disputes(
    status: Annotated[DisputeStatus | None, typer.Option(help="Only those with this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many payments at most.")] = 100,
    json: Json = False,
) -> None:
    """List the payments that customers' banks dispute, newest first."""
    from cartwheel.operations import refunds as work

    found = typed.run(
        work.disputed(typed.settings(BusSettings), status=status, limit=limit), Refusal
    )
    if json:
        work.show_json(found, typed.output())
    else:
        work.show_disputes(found, typed.output())
