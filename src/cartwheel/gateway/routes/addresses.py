"""The addresses that customers keep for later orders: everybody their own."""

from litestar import Response, Router, delete, get, post, put
from litestar.params import FromPath, JSONBody

from cartwheel.contracts import addresses as contract
from cartwheel.contracts.addresses import SavedAddress
from cartwheel.gateway import examples
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.card import card_free
from cartwheel.gateway.described import described
from cartwheel.gateway.idempotency import CREATED, IdempotencyKey, body_hash, created, request_id
from cartwheel.gateway.identity import SignedIn
from cartwheel.gateway.strict import NewShippingAddress
from cartwheel.kernel import Page


@post(
    "/",
    opt=described(
        asks=contract.CreateAddress,
        body=examples.NEW_ADDRESS,
        answer=examples.SAVED_ADDRESS,
        returns="The address.",
        headers=CREATED,
    )
    | card_free(),
)
async def create_address(
    data: JSONBody[NewShippingAddress], identity: SignedIn, bus: Bus, key: IdempotencyKey = None
) -> Response[SavedAddress]:
    """Keep an address.

    You can keep 20. Orders do not refer to it: send the address with the order.
    """
    answer = await bus.request(
        contract.CreateAddress(
            request_id=request_id(identity, key),
            body_hash=body_hash(data),
            address=data,
            actor=identity.actor,
        )
    )
    return created(answer, f"/api/v1/addresses/{answer.made.id}")


@get(
    "/",
    opt=described(
        asks=contract.ListAddresses,
        answer=Page(data=[examples.SAVED_ADDRESS]),
        returns="Your addresses, newest first. They are all on one page.",
    ),
)
async def list_addresses(identity: SignedIn, bus: Bus) -> Response[Page[SavedAddress]]:
    """List your addresses, newest first."""
    return await handed_on(contract.ListAddresses(actor=identity.actor), bus)


@get(
    "/{address_id:str}",
    opt=described(asks=contract.GetAddress, answer=examples.SAVED_ADDRESS, returns="The address."),
)
async def get_address(
    address_id: FromPath[str], identity: SignedIn, bus: Bus
) -> Response[SavedAddress]:
    """Show one of your addresses."""
    return await handed_on(contract.GetAddress(address_id=address_id, actor=identity.actor), bus)


@put(
    "/{address_id:str}",
    opt=described(
        asks=contract.ChangeAddress,
        body=examples.NEW_ADDRESS,
        answer=examples.SAVED_ADDRESS,
        returns="The address, as it is now.",
    )
    | card_free(),
)
async def change_address(
    address_id: FromPath[str], data: JSONBody[NewShippingAddress], identity: SignedIn, bus: Bus
) -> SavedAddress:
    """Replace one of your addresses.

    Orders that you have placed keep theirs. May be repeated.
    """
    return await bus.request(
        contract.ChangeAddress(address_id=address_id, address=data, actor=identity.actor)
    )


@delete(
    "/{address_id:str}",
    opt=described(asks=contract.DeleteAddress, returns="The address is deleted."),
)
async def delete_address(address_id: FromPath[str], identity: SignedIn, bus: Bus) -> None:
    """Delete one of your addresses.

    Orders that you have placed keep theirs.
    """
    await bus.request(contract.DeleteAddress(address_id=address_id, actor=identity.actor))


router = Router(
    "/addresses",
    route_handlers=[create_address, list_addresses, get_address, change_address, delete_address],
    tags=["addresses"],
)
