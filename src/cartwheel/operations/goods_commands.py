"""The command line of `cartwheel ship` and `cartwheel returns`."""

from typing import Annotated

import typer

from cartwheel.contracts.fulfilment import Received
from cartwheel.contracts.parcels import Pieces, ReturnView, ShipmentView
from cartwheel.kernel.errors import Refusal
from cartwheel.operations import typed
from cartwheel.operations.commands import Json, Which, sentence
from cartwheel.operations.reaching import BusSettings

Key = Annotated[
    str | None,
    typer.Option(help="The same key and values do it once, however often they are sent."),
]
Parcel = Annotated[str, typer.Argument(metavar="PARCEL", help="The parcel's id (shp_…).")]
ReturnId = Annotated[str, typer.Argument(metavar="RETURN", help="The return's id (ret_…).")]


def _pieces(given: str, most: int) -> tuple[str, list[int]]:
    """Return the product and the numbers of `PRODUCT=3` or `PRODUCT=2,1`.

    Raises BadParameter.
    """
    product_id, _, numbers = given.partition("=")
    parts = numbers.split(",")
    if not product_id or len(parts) > most or not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"{given} is not a product's id, =, and pieces")
    return product_id, [int(part) for part in parts]


def _show(made: ShipmentView | ReturnView, done: str, *, json: bool) -> None:
    from cartwheel.operations import goods

    if json:
        goods.show_json(made, typed.output())
    else:
        typed.say_done(done)


ship = typer.Typer(no_args_is_help=True, help="Ship orders, and record what becomes of parcels.")


@ship.command("parcel")
def ship_parcel(
    which: Which,
    line: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRODUCT=PIECES", help="What is in the parcel; all that is left if not given."
        ),
    ] = None,
    carrier: Annotated[str | None, typer.Option(help="Who carries it.", callback=sentence)] = None,
    tracking: Annotated[
        str | None, typer.Option(help="The carrier's number of it.", callback=sentence)
    ] = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Record that a parcel with pieces of an order has left. The customer is mailed."""
    from cartwheel.operations import goods

    lines = [_pieces(each, 1) for each in line or ()]
    parcel = [Pieces(product_id=name, quantity=pieces) for name, [pieces] in lines]
    work = goods.shipped(
        typed.settings(BusSettings),
        which,
        lines=parcel,
        carrier=carrier,
        tracking=tracking,
        key=key,
    )
    made = typed.run(work, Refusal)
    _show(made, f"parcel {made.id} is {made.status}", json=json)


@ship.command("delivered")
def report_delivered(which: Which, parcel: Parcel, json: Json = False) -> None:
    """Record that a parcel has arrived. May be repeated."""
    from cartwheel.operations import goods

    made = typed.run(goods.delivered(typed.settings(BusSettings), which, parcel), Refusal)
    _show(made, f"parcel {made.id} is {made.status}", json=json)


@ship.command("failed")
def report_failed(
    which: Which,
    parcel: Parcel,
    reason: Annotated[str, typer.Option(help="Why, in a few words.", callback=sentence)],
    json: Json = False,
) -> None:
    """Record that a parcel is back undelivered. An order to be paid at the door is canceled."""
    from cartwheel.operations import goods

    work = goods.delivery_failed(typed.settings(BusSettings), which, parcel, reason=reason)
    made = typed.run(work, Refusal)
    _show(made, f"parcel {made.id} is {made.status}", json=json)


returns = typer.Typer(no_args_is_help=True, help="Decide on returns, and record what arrived.")


@returns.command("list")
def list_returns(which: Which, json: Json = False) -> None:
    """List the returns of an order, oldest first."""
    from cartwheel.operations import goods

    listed = typed.run(goods.returns(typed.settings(BusSettings), which), Refusal)
    (goods.show_json if json else goods.show_returns)(listed, typed.output())


@returns.command("accept")
def accept_return(
    which: Which,
    return_id: ReturnId,
    note: Annotated[
        str | None, typer.Option(help="For the customer: where to send it.", callback=sentence)
    ] = None,
    json: Json = False,
) -> None:
    """Accept a return. The customer is mailed."""
    _decide(which, return_id, note, accepted=True, json=json)


@returns.command("decline")
def decline_return(
    which: Which,
    return_id: ReturnId,
    note: Annotated[str, typer.Option(help="Why, for the customer.", callback=sentence)],
    json: Json = False,
) -> None:
    """Decline a return, also an accepted one whose pieces never came."""
    _decide(which, return_id, note, accepted=False, json=json)


def _decide(which: str, return_id: str, note: str | None, *, accepted: bool, json: bool) -> None:
    from cartwheel.operations import goods

    work = goods.decided(
        typed.settings(BusSettings), which, return_id, accepted=accepted, note=note
    )
    made = typed.run(work, Refusal)
    _show(made, f"return {made.id} is {made.status}", json=json)


@returns.command("receive")
def receive_return(
    which: Which,
    return_id: ReturnId,
    line: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRODUCT=RESTOCKED,WRITTEN_OFF",
            help="The pieces that arrived: those to sell again, and those to write off.",
        ),
    ] = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Record what has arrived of a return. Its price is refunded."""
    from cartwheel.operations import goods

    lines = [_pieces(each, 2) for each in line or ()]
    arrived = [
        Received(product_id=name, restocked=restocked, written_off=sum(written_off))
        for name, [restocked, *written_off] in lines
    ]
    work = goods.received(typed.settings(BusSettings), which, return_id, lines=arrived, key=key)
    made = typed.run(work, Refusal)
    _show(made, f"return {made.id} is {made.status}", json=json)
