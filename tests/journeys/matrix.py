"""Who may call which operation: the table that the tests prove and that docs/endpoints.md shows.

A new operation gets its line here, or a test fails.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """What is answered, as the page shows it."""

    DONE = "✓"
    UNAUTHENTICATED = "401"
    FORBIDDEN = "403"
    HIDDEN = "404"


class Row(msgspec.Struct, frozen=True):
    """What happens to a request of somebody without a token, of the customer whose thing or account
    it is about, of another customer, and of an administrator."""

    nobody: Outcome
    customer: Outcome
    other: Outcome
    admin: Outcome


_DONE, _401, _403, _404 = Outcome

ANYBODY = Row(_DONE, _DONE, _DONE, _DONE)
USERS = Row(_401, _DONE, _DONE, _DONE)
OWNER = Row(_401, _DONE, _404, _404)
OWNER_AND_ADMINS = Row(_401, _DONE, _404, _DONE)
ADMINS = Row(_401, _403, _403, _DONE)
OWN_LIST = Row(_401, _DONE, _403, _DONE)
"""A list that is asked for somebody's things: one's own, or anybody's for administrators."""
NOBODY = Row(_401, _401, _401, _401)
"""Only who can sign the request."""

MATRIX: Mapping[str, Row] = {
    # accounts
    "sign_up": ANYBODY,
    "confirm": ANYBODY,
    "resend_code": ANYBODY,
    "log_in": ANYBODY,
    "refresh": ANYBODY,
    "log_out": ANYBODY,
    "forgot_password": ANYBODY,
    "reset_password": ANYBODY,
    "me": USERS,
    "change_account": USERS,
    "change_password": USERS,
    "create_address": USERS,
    "list_addresses": USERS,
    "get_address": OWNER,
    "change_address": OWNER,
    "delete_address": OWNER,
    # users
    "list_users": ADMINS,
    "get_user": ADMINS,
    "add_to_group": ADMINS,
    "remove_from_group": ADMINS,
    "disable_user": ADMINS,
    "enable_user": ADMINS,
    # catalogue
    "create_product": ADMINS,
    "list_products": ANYBODY,
    "get_product": ANYBODY,
    "restore_product": ADMINS,
    "update_product": ADMINS,
    "archive_product": ADMINS,
    "adjust_stock": ADMINS,
    "list_adjustments": ADMINS,
    "get_adjustment": ADMINS,
    # orders
    "place_order": USERS,
    "list_orders": OWN_LIST,
    "get_order": OWNER_AND_ADMINS,
    "get_timeline": OWNER_AND_ADMINS,
    "cancel_order": OWNER_AND_ADMINS,
    "ship_order": ADMINS,
    "call_off_pieces": ADMINS,
    "get_shipment": OWNER_AND_ADMINS,
    "report_delivered": ADMINS,
    "report_delivery_failed": ADMINS,
    "request_return": OWNER_AND_ADMINS,
    "get_return": OWNER_AND_ADMINS,
    "accept_return": ADMINS,
    "decline_return": ADMINS,
    "receive_return": ADMINS,
    # payments
    "create_payment": OWNER,
    "confirm_payment": ADMINS,
    "cancel_payment": OWNER_AND_ADMINS,
    "list_payments": OWN_LIST,
    "get_payment": OWNER_AND_ADMINS,
    "get_payment_timeline": OWNER_AND_ADMINS,
    "get_payment_at_provider": ADMINS,
    "create_refund": ADMINS,
    "get_refund": OWNER_AND_ADMINS,
    "simulator_reported": NOBODY,
    # the rest
    "live": ANYBODY,
    "ready": ANYBODY,
}
