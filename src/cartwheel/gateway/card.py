"""A card as the customer typed it: in memory for one request, and never shown by anything."""

from typing import Annotated, Any

import msgspec

from cartwheel.kernel import text


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """`number` may be grouped by spaces or dashes; `exp_year` has four digits."""

    number: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[0-9](?:[ -]?[0-9]){11,18}$" + text.NOTHING_AFTER,
            max_length=37,
            description="12 to 19 digits; spaces and dashes between them don't matter",
            examples=["4242 4242 4242 4242"],
        ),
    ]
    exp_month: Annotated[int, msgspec.Meta(ge=1, le=12, examples=[12])]
    exp_year: Annotated[int, msgspec.Meta(ge=2000, le=2099, examples=[2034])]
    cvc: Annotated[
        str,
        msgspec.Meta(pattern=r"^[0-9]{3,4}$" + text.NOTHING_AFTER, max_length=4, examples=["123"]),
    ]
    holder: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=text.LINE)] | None = (
        None
    )

    def __repr__(self) -> str:
        return "Card(…)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec would list every field here, and tracebacks in the log are drawn by rich.
        return []
