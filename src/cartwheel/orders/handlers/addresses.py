"""The addresses that a customer keeps. Nobody else sees or changes them, admins neither."""

from cartwheel.contracts.addresses import (
    ChangeAddress,
    CreateAddress,
    DeleteAddress,
    GetAddress,
    ListAddresses,
    SavedAddress,
)
from cartwheel.contracts.identity import Actor
from cartwheel.kernel import Change, Clock, Created, Page, new_id, utc_now
from cartwheel.orders.domain import addresses as rules
from cartwheel.orders.ports import Addresses


async def create_address(
    request: CreateAddress, *, addresses: Addresses, now: Clock = utc_now
) -> Created[SavedAddress]:
    address_id = new_id("adr")
    by = _change(request.actor, now)
    book = await addresses.revise(by.by, rules.keep_address, request, address_id, by=by)
    made = next(each for each in book.addresses if each.request_id == request.request_id)
    return Created(made=made.view(), replayed=made.id != address_id)


async def list_addresses(request: ListAddresses, *, addresses: Addresses) -> Page[SavedAddress]:
    book = await addresses.of(request.actor.user_id)
    return Page(data=[each.view() for each in reversed(book.addresses)])


async def get_address(request: GetAddress, *, addresses: Addresses) -> SavedAddress:
    book = await addresses.of(request.actor.user_id)
    return rules.kept(book, request.address_id).view()


async def change_address(
    request: ChangeAddress, *, addresses: Addresses, now: Clock = utc_now
) -> SavedAddress:
    by = _change(request.actor, now)
    book = await addresses.revise(by.by, rules.change_address, request, by=by)
    return rules.kept(book, request.address_id).view()


async def delete_address(
    request: DeleteAddress, *, addresses: Addresses, now: Clock = utc_now
) -> None:
    by = _change(request.actor, now)
    await addresses.revise(by.by, rules.delete_address, request.address_id, by=by)


def _change(actor: Actor, now: Clock) -> Change:
    return Change(by=actor.user_id, at=now())
