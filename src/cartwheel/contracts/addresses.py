"""The requests of the addresses that a customer keeps. Orders answers them."""

from datetime import datetime

import msgspec

from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.orders import ShippingAddress
from cartwheel.kernel import Created, Page, Request, request
from cartwheel.kernel.errors import Conflict, NotFound

MAX_ADDRESSES = 20
"""How many addresses a user may keep."""


class SavedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address that a user keeps, to be sent with later orders. Orders do not refer to it."""

    id: str
    address: ShippingAddress
    created_at: datetime
    updated_at: datetime


class AddressNotFound(NotFound):
    """You keep no address with this id.

    Take the id from the list of your addresses.
    """

    code = "address_not_found"


class TooManyAddresses(Conflict):
    """You keep 20 addresses already.

    Delete one that you no longer need.
    """

    code = "too_many_addresses"


@request("create_address", service="orders", refusals=(IdempotencyKeyReused, TooManyAddresses))
class CreateAddress(Request[Created[SavedAddress]], frozen=True, kw_only=True):
    """Keep an address for the actor.

    Repeatable: `request_id` with the same `body_hash` answers the address made first, as it is now.
    Refuses with `TooManyAddresses`.
    """

    request_id: str
    body_hash: str
    address: ShippingAddress
    actor: Actor


@request("list_addresses", service="orders", read=True)
class ListAddresses(Request[Page[SavedAddress]], frozen=True, kw_only=True):
    """List all addresses that the actor keeps, newest first, on one page."""

    actor: Actor


@request("get_address", service="orders", read=True, refusals=(AddressNotFound,))
class GetAddress(Request[SavedAddress], frozen=True, kw_only=True):
    """Return one of the actor's addresses, or refuse with `AddressNotFound`."""

    address_id: str
    actor: Actor


@request("change_address", service="orders", refusals=(AddressNotFound,))
class ChangeAddress(Request[SavedAddress], frozen=True, kw_only=True):
    """Replace one of the actor's addresses, or refuse with `AddressNotFound`. Repeatable."""

    address_id: str
    address: ShippingAddress
    actor: Actor


@request("delete_address", service="orders", refusals=(AddressNotFound,))
class DeleteAddress(Request[None], frozen=True, kw_only=True):
    """Delete one of the actor's addresses. A repetition refuses with `AddressNotFound`."""

    address_id: str
    actor: Actor
