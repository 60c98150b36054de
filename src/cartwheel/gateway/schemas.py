"""The schemas of the API's description: what msgspec checks, under names for clients.

A contract's `OrderView` is `Order` for clients, and `Page[OrderView]` is `OrderPage`. Names have
letters and digits only, so that every generator makes a class of each.
"""

import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec

_PREFIX = "#/components/schemas/"
_CLEAN = {
    "Failure": "PaymentFailure",
    "Line": "OrderLine",
    "Me": "Account",
    "Method": "PaymentMethod",
    "Tokens": "Tokens",
    "User": "Customer",
    "UserView": "User",
}
"""Names in contracts that are clear there, beside the message that has them, and not alone."""
_DESCRIPTIONS = {
    "Account": "The user that the access token belongs to. Administrators have the group `admin`.",
    "AccountChanges": "Your new name.",
    "Adjustment": "What changes the total beside the lines: shipping, tax or a discount.",
    "AcceptedReturn": "A note for the customer, such as where to send the pieces.",
    "AdjustmentKind": "Why the number of pieces on the shelf changes, other than by a sale.",
    "ArrivedPieces": "The pieces of a product that arrived: those to sell again, and those to "
    "write off.",
    "Arrival": "What has arrived of a return, line by line. Lines that are left out have not "
    "arrived.",
    "ByCard": "Pay by card, which is charged at once, or at shipment. The token stands for the "
    "card; a card's number or CVC is refused.",
    "CallOff": "Pieces of an order that are never shipped. Their price is refunded, or not "
    "captured.",
    "Cancellation": "Why the order is canceled. An administrator must say so to cancel another "
    "user's order, or a paid one.",
    "ChangedPassword": "Your password until now, and the new one.",
    "ChangedUser": "The user after the change, and when it takes effect.",
    "ByWallet": "Pay with the provider's wallet. The customer approves the payment on its page.",
    "CardSummary": "What is known of the card.",
    "CashOnDelivery": "Pay in cash on delivery. An administrator confirms the payment.",
    "Confirmation": "An email address, and the code that was mailed to it.",
    "SomePieces": "So many pieces of one of the order's lines.",
    "DeclinedReturn": "Why the return is declined.",
    "Difference": "What this shop and the provider's ledger have of a payment or a refund, where "
    "it is not the same. A `repairable` one is repaired by `cartwheel payments reconcile`.",
    "DifferenceKind": "The provider has captured what this shop knows nothing of, or has not "
    "captured what it should have, or has captured or refunded another amount.",
    "EmailAddress": "The email address of an account.",
    "EntryKind": "What has happened. `OTHER` is what this version of the shop does not know.",
    "FailedDelivery": "Why a parcel came back.",
    "FieldError": "A field or parameter at fault. `field` is a path such as `items[0].quantity`, "
    "and empty if it is the whole body.",
    "Fulfillment": "How far the delivery of the order has come.",
    "FulfillmentStatus": "Partial while some pieces are shipped and others are not. Shipped and "
    "delivered once all are. Returned once all have come back.",
    "Health": "The process is alive.",
    "LedgerEntry": "A line of the provider's ledger. Its id and time are the provider's.",
    "ListedUser": "A user. `status` is Cognito's: `CONFIRMED` once the mail address is confirmed.",
    "ListedUserPage": "A page of users.",
    "LogIn": "The credentials of a user.",
    "Money": "An amount in the currency's minor units: 1999 and USD are $19.99.",
    "NewOrder": "What to order. Items of the same product are added up. The shipping address may "
    "come with the payment instead. If the order would not cost `expected_total`, it is refused.",
    "NewPassword": "A new password, and the code that was mailed for it.",
    "NewPayment": "How to pay an order, in full. The shipping address is needed if the order has "
    "none.",
    "NewProduct": "A product to be added.",
    "Dispute": "The customer's bank takes back the money of a payment. While a dispute is open, "
    "nothing is refunded.",
    "DisputeStatus": "Open until the provider has decided. A lost dispute is money gone for good.",
    "LessIsLeft": "Less is left of the captured money than is to be refunded. `left` is what is "
    "left.",
    "NewRefund": "Either `amount`, or `lines` at the order's unit prices, or neither for all that "
    "is left. With `by_other_means`, the money was paid back in another way, and is only recorded.",
    "NewCallOff": "The pieces that are never shipped, and why.",
    "NewReturn": "The pieces to return, and why.",
    "NewShipment": "The pieces in a parcel, and who carries it.",
    "NewShippingAddress": "Where to send the goods.",
    "NewStockAdjustment": "Either `delta`, the pieces to add or with a minus to take away, or "
    "`counted`, the pieces on hand: available, reserved, or sold and not shipped. With `expected`, "
    "the stock is adjusted only if exactly so many pieces are on hand.",
    "Order": "An order, at the prices of the moment when it was placed.",
    "OrderItem": "A product, and how many pieces of it.",
    "OrderPage": "A page of orders.",
    "OrderStatus": "Awaiting payment until it is paid. Authorized while its money is only "
    "reserved. Rejected after too many declined payments. "
    "Canceled by the customer, an administrator or the payment deadline, or because all was "
    "refunded. Refunded if all was given back after something was shipped.",
    "Payment": "A payment of an order, with what happened to it and its refunds.",
    "PaymentAtProvider": "A payment as its provider has it, and what is different here. Cash has "
    "no entries.",
    "PaymentMethod": "How the payment is made.",
    "PaymentPage": "A page of payments.",
    "PaymentStatus": "Awaiting payment until there is a verdict, or the cash is confirmed. "
    "Requires action while the customer has to approve it on the provider's page. "
    "Authorized while the money is only reserved. "
    "Canceled if the customer, an administrator or the order's cancellation gave it up before. "
    "Refunded, or partially so, after it was paid.",
    "PriceChanged": "The order would not cost what was expected. `total` is what it costs now.",
    "Pieces": "So many pieces of a product of the order.",
    "Price": "A price in the currency's minor units: 1999 and USD are $19.99.",
    "Product": "A product of the catalogue.",
    "ProductChanges": "The fields to change; the others stay as they are.",
    "ProductPage": "A page of products.",
    "ProductStatus": "Only active products are listed and can be ordered.",
    "Ready": "The gateway is ready for requests.",
    "Redirect": "Send the customer to this page of the provider, where they approve or refuse the "
    "payment.",
    "RefreshToken": "A refresh token, as the log-in answered it.",
    "Refund": "Money that goes back to the customer.",
    "RefundStatus": "Pending until the provider has confirmed the refund. It may fail even after "
    "that; its amount can then be refunded again.",
    "Return": "Pieces that the customer returns, and what becomes of them.",
    "ReturnStatus": "Requested until it is decided. Received once its pieces have arrived.",
    "ReturnedLine": "The pieces of a product that are returned, and how many of them arrived.",
    "SavedAddress": "An address that you keep. Send it with an order as its shipping address.",
    "SavedAddressPage": "All addresses that you keep.",
    "Shipment": "A parcel with pieces of an order.",
    "ShipmentStatus": "Shipped until it is delivered. Failed if it came back undelivered.",
    "ShippingAddress": "Where the goods are sent.",
    "SignUp": "A new account.",
    "SignedUp": "The new account. Confirm its email address with the code that was mailed to it.",
    "Stock": "How many pieces there are of a product. All but `available` is for administrators.",
    "StockAdjustment": "A change of a product's stock that is not a sale. `before` and `after` are "
    "pieces on hand: available, reserved, or sold and not shipped.",
    "StockAdjustmentPage": "A page of stock adjustments.",
    "TimelineEntry": "Something that happened to an order.",
    "Tokens": "Tokens, named as in RFC 6749.",
    "Unready": "The gateway is not ready for requests; `detail` says why.",
    "Verdict": "How a payment ended. Other fields are ignored, and so are webhooks of other types.",
}
"""For clients, where a type has no docstring, or one for who reads the code."""
_NEXT = "Send it as `cursor` to get the next page; null on the last page"
_CAUSE = "The event that caused it: the `event_id` of another entry; null if none did"
_MINOR_UNITS = "In minor units of the currency: cents of USD, whole yen of JPY"
_FIELDS = {
    "Account": {"groups": "`admin` for administrators; empty for customers"},
    "CallOff": {
        "amount": "What is paid back, or not captured; null if all of the order was paid back "
        "before",
        "refund_id": "The refund that pays back `amount`; null if it was not captured",
    },
    "Difference": {
        "here": "What this shop has noted; null if nothing",
        "refund_id": "The refund that differs; null if the capture does",
        "there": "What the provider has; null if nothing",
    },
    "FieldError": {
        "field": "A path such as `items[0].quantity`; empty if it is the whole body",
    },
    "Fulfillment": {"tracking": "The carrier's number of the parcel; null until there is one"},
    "LedgerEntry": {
        "amount": "Null where no money has moved",
        "dispute_id": "Null unless it is about a dispute",
        "failure": "Why money was refused; null otherwise",
        "refund_id": "Null unless it is about a refund",
    },
    "ListedUserPage": {"next_cursor": _NEXT},
    "Money": {"amount": _MINOR_UNITS},
    "NewPayment": {
        "return_url": "Where the customer's browser goes after they approved the payment, below an "
        "address that the shop allows; null to end at the provider",
    },
    "NewProduct": {
        "sku": "Your own number of the product; if you send none, one is made from its id",
        "stock": "Pieces at the start",
    },
    "NewShippingAddress": {"country": "Code of ISO 3166-1"},
    "Order": {
        "called_off": "What of the order is never shipped, oldest first",
        "expires_at": "The order is canceled if it is not paid by then, or its cash is not "
        "confirmed; null once it is authorized, paid, shipped or closed",
        "number": "Short, for people to read out",
        "payment_attempts": "How many payments were declined; the third decline rejects the order",
        "refunded": "What went back of the payment, in refunds and lost disputes; null in answers "
        "of an older version",
        "returns": "Oldest first",
        "shipments": "Its parcels, oldest first",
        "shipping_address": "Null until a payment brings one",
        "version": "Counts the changes of the order",
    },
    "OrderLine": {
        "name": "When the order was placed",
        "unit_price": "For one piece, when the order was placed",
    },
    "OrderPage": {"next_cursor": _NEXT},
    "Payment": {
        "authorized": "What was reserved before it was captured; null if nothing was",
        "capture_before": "When the reserved money is released, unless it is captured before; null "
        "if nothing is reserved",
        "card": "Null until the provider has told it, for a wallet, and for cash",
        "failure": "Null unless the payment is rejected or canceled",
        "next_action": "What the customer has to do now; null unless the payment requires action, "
        "and for everybody else",
        "provider": "Who takes the money: `simulator`, or `cash`",
        "provider_reference": "The provider's own id of the payment; null until it has told one, "
        "and for cash",
    },
    "PaymentAtProvider": {
        "reference": "The provider's own id of the payment; null until it has told one",
    },
    "PaymentEntry": {
        "because_of": _CAUSE,
        "by": "Who did it: the id of a user, a provider, or a service",
        "type": "`begun`, `action required`, `order ended`, `authorized`, `capture asked for`, "
        "`capture failed`, `void asked for`, `captured`, `declined`, `cancel asked for`, "
        "`canceled`, `refund due`, "
        "`refund owed`, `refunded`, `refund failed`, `disputed` or `dispute closed`; later "
        "versions may add others",
    },
    "PaymentFailure": {
        "code": "For programs: the provider's, such as `card_declined`, or `amount_mismatch`, "
        "`order_canceled`, `authorization_lapsed`, `processing_error`, `action_expired`, "
        "`card_token_invalid`",
        "message": "For the customer",
    },
    "PaymentPage": {"next_cursor": _NEXT},
    "Price": {"amount": _MINOR_UNITS},
    "Product": {
        "category": "Null if it has none",
        "image_url": "Null if it has none",
        "low_stock_at": "The stock is low when so few pieces are available; null if it never is, "
        "and for everybody but administrators",
        "version": "Counts changes of the catalogue, not sales; send it in `If-Match`",
    },
    "ProductPage": {"next_cursor": _NEXT},
    "Dispute": {
        "at": "When the provider reported it",
        "closed_at": "Null while it is open",
        "id": "The provider's",
        "reason": "The provider's, such as `fraudulent`",
    },
    "NewRefund": {
        "amount": "Null for the price of `lines`, or for all that is left",
        "reason": "For the customer",
    },
    "Return": {
        "amount": "What is paid back; null until the pieces have arrived, and if nothing is",
        "decided_at": "Null until it is accepted or declined",
        "note": "What the shop says about it; null if nothing",
        "received_at": "Null until its pieces have arrived",
        "refund_id": "The refund that pays back `amount`; null if there is none",
    },
    "ReturnedLine": {
        "quantity": "The pieces that are to be returned",
        "restocked": "The pieces that arrived and can be sold again",
        "written_off": "The pieces that arrived and cannot be sold again",
    },
    "Redirect": {
        "expires_at": "The payment is given up if it is not approved by then",
        "url": "For the payment's customer alone: who has it may answer in their place",
    },
    "Refund": {
        "at": "When it was decided; null in refunds of an older version",
        "by_other_means": "Whether the money was paid back in another way than through the "
        "provider",
        "failure": "Why the provider has not made it; null unless it failed or was canceled",
        "provider": "Who captured the money; null if it is the payment's own provider",
        "reason": "For the customer",
    },
    "SavedAddressPage": {"next_cursor": "Always null: there is only one page"},
    "Shipment": {
        "carrier": "Who carries it; null if that was not recorded",
        "delivered_at": "Null until it has arrived",
        "failed_at": "Null unless it came back undelivered",
        "tracking": "The carrier's number of the parcel; null if it has none",
    },
    "ShippingAddress": {"country": "Code of ISO 3166-1; null if none was given"},
    "Stock": {
        "available": "Free to be ordered",
        "reserved": "Reserved for orders that await payment; for administrators",
        "sold": "Paid for; for administrators",
        "unshipped": "Those of the sold pieces that are not shipped yet; for administrators",
    },
    "StockAdjustment": {
        "counted": "The pieces that were counted; null if `delta` was given",
        "delta": "The pieces that were added, or with a minus taken away",
    },
    "StockAdjustmentPage": {"next_cursor": _NEXT},
    "TimelineEntry": {
        "because_of": _CAUSE,
        "event_id": "The event that told of it; null if nobody was told",
        "text": "In a sentence; null in entries of an older version",
        "trace_id": "All that one request has caused has the same; null in older entries",
        "by": "Who did it: the id of a user, a service, or `deadline`",
        "note": "The reason, if there is one",
        "type": "The type of an event, such as `order.paid.v1`; later versions may add others",
    },
    "Tokens": {
        "expires_in": "Seconds until the access token expires",
        "id_token": "Says who the user is; this API does not take it",
    },
}
"""What fields are whose name does not say it: units, and what null means."""
_PAGE = re.compile(r"Page_(\w+)_")


def components(kinds: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the schemas of `kinds`, in their order, and the components that these refer to.

    Raises:
        ValueError: two types have the same name for clients, or one that is not clean.
        KeyError: a field is described that its type does not have.
    """
    schemas, found = msgspec.json.schema_components(
        kinds, ref_template=_PREFIX + "{name}", schema_hook=_anything
    )
    names = {name: _clean(name) for name in found}
    for name in names.values():
        if list(names.values()).count(name) > 1 or not re.fullmatch("[A-Za-z0-9]+", name):
            raise ValueError(f"{name} is the name of two schemas, or not a name for clients")
    of_clients = {_PREFIX + name: _PREFIX + clean for name, clean in names.items()}
    told: dict[str, Any] = {
        names[name]: {
            **_told(schema, of_clients),
            "title": names[name],
            "description": _DESCRIPTIONS.get(names[name]) or schema.get("description", ""),
        }
        for name, schema in sorted(found.items(), key=lambda each: names[each[0]])
    }
    for name, fields in _FIELDS.items():
        for field, description in fields.items() if name in told else ():
            told[name]["properties"][field]["description"] = description
    return [_told(schema, of_clients) for schema in schemas], told


def reference_for_clients(reference: str) -> str:
    """Return a reference by the name of a type as one by its name for clients."""
    return _PREFIX + _clean(reference.removeprefix(_PREFIX))


def _anything(kind: Any) -> dict[str, Any]:
    if kind is not object:
        raise NotImplementedError
    return {"description": "Of no fixed type"}


def _clean(name: str) -> str:
    if page := _PAGE.fullmatch(name):
        return f"{_clean(page[1])}Page"
    name = name.lstrip("_")
    return _CLEAN.get(name) or _CLEAN.get(name.removesuffix("View"), name.removesuffix("View"))


def _told(part: Any, names: dict[str, str]) -> Any:
    """Return a part of a schema as OpenAPI has it; `names` are of references."""
    if isinstance(part, str):
        return names.get(part, part)
    if isinstance(part, list):
        return [_told(each, names) for each in cast("list[Any]", part)]
    if isinstance(part, dict):
        return _told_schema(cast("dict[str, Any]", part), names)
    return part


def _told_schema(schema: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    told = {key: _told(value, names) for key, value in schema.items()}
    if "discriminator" in told:  # exactly one of them fits, as it is told by a field
        told["oneOf"] = told.pop("anyOf")
    if "enum" in told:
        told["type"] = "string"
        if len(told["enum"]) == 1:
            [told["const"]] = told.pop("enum")
    for field, schema in told.get("properties", {}).items():
        if field == "at" or field.endswith("_at"):
            # msgspec does not say so, as it also takes a time without a zone.
            _tell_of_time(schema)
    return told


def _tell_of_time(schema: dict[str, Any]) -> None:
    for each in (schema, *schema.get("anyOf", ())):
        if each.get("type") == "string":
            each["format"] = "date-time"
