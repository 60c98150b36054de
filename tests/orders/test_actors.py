"""Orders itself decides whose orders it shows, whatever the gateway has chosen."""

import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.orders import GetOrderStatuses, GetPayableOrder, ListOrders, OrderNotFound
from cartwheel.kernel.errors import Forbidden
from cartwheel.orders.handlers import reading

from .conftest import Orders, Shelf
from .examples import ADDRESS, ZOE, place

EVE = Actor(user_id="user-eve")
ADMIN = Actor(user_id="user-ada", admin=True)


@pytest.fixture
async def of_zoe(orders: Orders, shelf: Shelf) -> str:
    request = place((await shelf.add(stock=5), 1), address=ADDRESS)
    return (await orders.placed(request)).id


@pytest.mark.parametrize("user_id", [None, ZOE.id])
async def test_a_customers_list_has_only_their_own_entries(
    orders: Orders, of_zoe: str, user_id: str | None
) -> None:
    def asked_by(actor: Actor | None) -> ListOrders:
        return ListOrders(limit=10, user_id=user_id, actor=actor)

    assert (await orders.list(asked_by(EVE))).data == []
    for actor in (Actor(user_id=ZOE.id), ADMIN, None):  # None: an older gateway, which has decided
        assert [order.id for order in (await orders.list(asked_by(actor))).data] == [of_zoe]


@pytest.mark.parametrize("actor", [EVE, ADMIN])
async def test_only_the_owner_pays_an_order(orders: Orders, of_zoe: str, actor: Actor) -> None:
    with pytest.raises(OrderNotFound):
        await orders.payable(GetPayableOrder(order_id=of_zoe, user_id=ZOE.id, actor=actor))


async def test_only_services_may_ask_for_order_statuses(orders: Orders, of_zoe: str) -> None:
    request = GetOrderStatuses(order_ids=[of_zoe], actor=Actor.service("products"))
    [state] = await reading.get_order_statuses(request, orders=orders.orders)

    assert state.order_id == of_zoe
    with pytest.raises(Forbidden):
        await reading.get_order_statuses(
            GetOrderStatuses(order_ids=[of_zoe], actor=EVE), orders=orders.orders
        )


async def test_a_service_has_fewer_rights_than_an_admin(orders: Orders, of_zoe: str) -> None:
    with pytest.raises(OrderNotFound):
        await orders.timeline(of_zoe, Actor.service("products"))
