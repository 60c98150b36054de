"""The addresses that customers keep: their own, at most twenty, each made once."""

import asyncio
from typing import NamedTuple
from uuid import uuid4

import pytest

from cartwheel.contracts.addresses import (
    MAX_ADDRESSES,
    AddressNotFound,
    ChangeAddress,
    CreateAddress,
    DeleteAddress,
    GetAddress,
    ListAddresses,
    SavedAddress,
    TooManyAddresses,
)
from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.orders import (
    ShippingAddress,
)
from cartwheel.kernel import Created
from cartwheel.kernel.mongodb import Database
from cartwheel.orders.handlers import addresses
from cartwheel.orders.mongo import MongoAddresses

from .examples import ADDRESS, AT, BONN, LATER

ZOE = Actor(user_id="user-zoe")
EVE = Actor(user_id="user-eve", admin=True)


class Book(NamedTuple):
    """What one process of the service does for one user."""

    stored: MongoAddresses
    actor: Actor

    async def keep(
        self,
        address: ShippingAddress = ADDRESS,
        *,
        request_id: str | None = None,
        body_hash: str = "hash",
    ) -> Created[SavedAddress]:
        request = CreateAddress(
            request_id=request_id or str(uuid4()),
            body_hash=body_hash,
            address=address,
            actor=self.actor,
        )
        return await addresses.create_address(request, addresses=self.stored, now=lambda: AT)

    async def all(self) -> list[SavedAddress]:
        request = ListAddresses(actor=self.actor)
        return (await addresses.list_addresses(request, addresses=self.stored)).data

    async def one(self, address_id: str) -> SavedAddress:
        request = GetAddress(address_id=address_id, actor=self.actor)
        return await addresses.get_address(request, addresses=self.stored)

    async def change(self, address_id: str, address: ShippingAddress) -> SavedAddress:
        request = ChangeAddress(address_id=address_id, address=address, actor=self.actor)
        return await addresses.change_address(request, addresses=self.stored, now=lambda: LATER)

    async def delete(self, address_id: str) -> None:
        request = DeleteAddress(address_id=address_id, actor=self.actor)
        await addresses.delete_address(request, addresses=self.stored)


@pytest.fixture
def zoes(database: Database) -> Book:
    return Book(MongoAddresses(database), ZOE)


@pytest.fixture
def eves(database: Database) -> Book:
    return Book(MongoAddresses(database), EVE)


async def test_an_address_is_kept_changed_and_deleted(zoes: Book) -> None:
    assert await zoes.all() == []
    home = (await zoes.keep()).made
    work = (await zoes.keep(BONN)).made
    assert await zoes.all() == [work, home]

    moved = await zoes.change(home.id, BONN)

    assert (moved.address, moved.created_at, moved.updated_at) == (BONN, AT, LATER)
    assert await zoes.one(home.id) == moved
    await zoes.delete(work.id)
    assert await zoes.all() == [moved]


async def test_nobody_else_not_even_an_admin_sees_changes_or_deletes_it(
    zoes: Book, eves: Book
) -> None:
    home = (await zoes.keep()).made

    for attempt in (eves.one(home.id), eves.change(home.id, BONN), eves.delete(home.id)):
        with pytest.raises(AddressNotFound):
            await attempt

    assert await eves.all() == []
    assert await zoes.all() == [home]


async def test_the_same_request_again_answers_the_address_made_first(zoes: Book) -> None:
    first = await zoes.keep(request_id="5c0e")
    changed = await zoes.change(first.made.id, BONN)

    again = await zoes.keep(request_id="5c0e")

    assert again == Created(made=changed, replayed=True)
    with pytest.raises(IdempotencyKeyReused):
        await zoes.keep(request_id="5c0e", body_hash="other")
    assert await zoes.all() == [changed]


async def test_the_same_request_at_once_in_two_processes_keeps_one_address(
    zoes: Book, database: Database
) -> None:
    elsewhere = zoes._replace(stored=MongoAddresses(database))

    made = await asyncio.gather(
        *(book.keep(request_id="5c0e") for book in (zoes, elsewhere) for _ in range(5))
    )

    assert len({each.made.id for each in made}) == 1
    assert [each.replayed for each in made].count(False) == 1
    assert len(await zoes.all()) == 1


async def test_of_many_at_once_in_two_processes_exactly_twenty_are_kept(
    zoes: Book, database: Database
) -> None:
    elsewhere = zoes._replace(stored=MongoAddresses(database))

    tried = await asyncio.gather(
        *(book.keep() for book in (zoes, elsewhere) for _ in range(MAX_ADDRESSES)),
        return_exceptions=True,
    )

    assert sum(isinstance(each, Created) for each in tried) == MAX_ADDRESSES
    assert sum(isinstance(each, TooManyAddresses) for each in tried) == MAX_ADDRESSES
    kept = await zoes.all()
    assert len(kept) == MAX_ADDRESSES
    await zoes.delete(kept[0].id)
    assert (await zoes.keep()).replayed is False


async def test_an_address_deleted_is_not_found_again(zoes: Book) -> None:
    home = (await zoes.keep()).made
    await zoes.delete(home.id)

    with pytest.raises(AddressNotFound):
        await zoes.delete(home.id)
    with pytest.raises(AddressNotFound):
        await zoes.one(home.id)
