"""The rules of a customer's addresses. Pure: values in, new values or a refusal out."""

from datetime import datetime

import msgspec

from cartwheel.contracts.addresses import (
    MAX_ADDRESSES,
    AddressNotFound,
    ChangeAddress,
    CreateAddress,
    SavedAddress,
    TooManyAddresses,
)
from cartwheel.contracts.idempotency import check_repeated
from cartwheel.contracts.orders import ShippingAddress
from cartwheel.kernel import Change


class KeptAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address in its user's book. `request_id` and `body_hash` are those of its creation."""

    id: str
    request_id: str
    body_hash: str
    address: ShippingAddress
    created_at: datetime
    updated_at: datetime

    def view(self) -> SavedAddress:
        return SavedAddress(
            id=self.id,
            address=self.address,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


class AddressBook(msgspec.Struct, frozen=True, kw_only=True):
    """All addresses of a user, oldest first; `id` is the user's.

    They change together, by `version`: so their number is exact, however many are added at once.
    """

    id: str
    addresses: list[KeptAddress] = msgspec.field(default_factory=list[KeptAddress])
    version: int = 0


def kept(book: AddressBook, address_id: str) -> KeptAddress:
    """Return the address.

    Raises:
        AddressNotFound: it is not in `book`.
    """
    for each in book.addresses:
        if each.id == address_id:
            return each
    raise AddressNotFound("There is no such address.")


def keep_address(
    book: AddressBook, request: CreateAddress, address_id: str, change: Change
) -> AddressBook:
    """Return `book` with the new address; unchanged if the request has added one before.

    Raises:
        IdempotencyKeyReused: the request has added another one before.
        TooManyAddresses: the book is full.
    """
    for each in book.addresses:
        if each.request_id == request.request_id:
            check_repeated(each.body_hash, request.body_hash, made="address")
            return book
    if len(book.addresses) >= MAX_ADDRESSES:
        raise TooManyAddresses(f"You keep {MAX_ADDRESSES} addresses. Delete one first.")
    new = KeptAddress(
        id=address_id,
        request_id=request.request_id,
        body_hash=request.body_hash,
        address=request.address,
        created_at=change.at,
        updated_at=change.at,
    )
    return _with_addresses(book, [*book.addresses, new])


def change_address(book: AddressBook, request: ChangeAddress, change: Change) -> AddressBook:
    """Return `book` with the address replaced; unchanged if it is the same already.

    Raises:
        AddressNotFound: it is not in this book.
    """
    old = kept(book, request.address_id)
    if old.address == request.address:
        return book
    new = msgspec.structs.replace(old, address=request.address, updated_at=change.at)
    return _with_addresses(book, [new if each is old else each for each in book.addresses])


def delete_address(book: AddressBook, address_id: str, _: Change) -> AddressBook:
    """Return `book` without the address.

    Raises:
        AddressNotFound: it is not in this book.
    """
    old = kept(book, address_id)
    return _with_addresses(book, [each for each in book.addresses if each is not old])


def _with_addresses(book: AddressBook, addresses: list[KeptAddress]) -> AddressBook:
    return msgspec.structs.replace(book, addresses=addresses, version=book.version + 1)
