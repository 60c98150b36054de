"""The shop over TLS, with real servers and certificates from the test's own authority."""

from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from cartwheel.kernel.servers import Unusable, check_mongodb, check_rabbitmq
from cartwheel.kernel.settings import AmqpClient
from cartwheel.local import mongod, ports
from cartwheel.local.console import QUIET
from cartwheel.local.supervisor import supervising
from cartwheel.local.up import System, running

from ..beside import PASSWORD, beside
from ..certificates import make_certificates
from ..erlang import evaluate
from ..journeys.command_line import cartwheel
from ..journeys.shop import Shelf, open_shop

USER = "guest:guest"

_LACKING: dict[AmqpClient, str] = {
    "built-in": r", which asks for a certificate of ours$",
    # If RabbitMQ resets the connection early, aiormq sees only the reset.
    "aiormq": r", which asks for a certificate of ours$|Connection reset by peer",
}
every_client = pytest.mark.parametrize("client", ["built-in", "aiormq"])


class Files(msgspec.Struct, frozen=True):
    """Certificates. `own` is the servers' certificate with its key; clients may use it, too."""

    authority: Path
    own: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("certificates")
    files = Files(folder / "authority.pem", folder / "own.pem")
    make_certificates(files.authority, files.own)
    return files


async def listen(
    system: System, files: Files, *, host: str = "127.0.0.1", client_certificates: bool = False
) -> int:
    """Make the system's RabbitMQ also listen for TLS; return the port."""
    port = ports.find_free()
    options = (
        f'[{{cacertfile, "{files.authority}"}}, {{certfile, "{files.own}"}},'
        f' {{keyfile, "{files.own}"}}, {{verify, verify_peer}},'
        f" {{fail_if_no_peer_cert, {str(client_certificates).lower()}}}]"
    )
    await evaluate(
        system.supervisor,
        "{ok, _} = application:ensure_all_started(ssl), "
        f'rabbit_networking:start_ssl_listener({{"{host}", {port}}}, {options}, 2).',
    )
    return port


@pytest.fixture(scope="module")
async def rabbitmq(system: System, files: Files) -> str:
    """The address at which RabbitMQ accepts TLS: `HOST:PORT`."""
    return f"localhost:{await listen(system, files)}"


@pytest.fixture(scope="module")
async def mongodb(tmp_path_factory: pytest.TempPathFactory, files: Files) -> AsyncGenerator[str]:
    """The URI of a mongod that accepts TLS. It does not name an authority."""
    home, port = tmp_path_factory.mktemp("mongodb"), ports.find_free()
    plain = mongod.member("mongod", home, port, probe=lambda: mongod.become_primary(port))
    options = {
        "--tlsMode": "preferTLS",
        "--tlsCertificateKeyFile": str(files.own),
        "--tlsCAFile": str(files.authority),
    }
    argv = (
        *(*plain.argv, "--tlsAllowConnectionsWithoutCertificates"),
        *(word for option in options.items() for word in option),
    )
    async with supervising(home, QUIET) as supervisor:
        await supervisor.run(msgspec.structs.replace(plain, argv=argv))
        address = f"127.0.0.1:{port}"
        yield f"{mongod.uri(address)}&tls=true"


async def test_a_purchase_over_tls(
    tmp_path: Path, system: System, files: Files, rabbitmq: str, mongodb: str
) -> None:
    async with beside(system, "tls") as shared:
        vhost = shared.host.name
        given = {
            **shared.given,
            "RABBITMQ_URL": f"amqps://{vhost}:{PASSWORD}@{rabbitmq}/{vhost}?cafile={files.authority}",
            "MONGODB_URI": f"{mongodb}&tlsCAFile={files.authority}",
        }
        async with running(tmp_path, given=given) as secure, open_shop(secure.url) as shop:
            customer = await shop.sign_up()
            product = await Shelf(await shop.admin()).put_up(stock=3)
            order = (await customer.order(product)).made
            await customer.pay(order)
            await customer.sees(order, "PAID")
            ran = await cartwheel(secure, "verify")
            assert ran.status == 0, ran


async def test_a_mongodb_whose_authority_is_unknown_is_refused(files: Files, mongodb: str) -> None:
    await check_mongodb(f"{mongodb}&tlsCAFile={files.authority}")

    with pytest.raises(Unusable) as refused:
        await check_mongodb(mongodb, "ORDERS_MONGODB_URI")

    place = mongodb.partition("?")[0]
    assert str(refused.value) == (
        f"ORDERS_MONGODB_URI points to {place}, "
        "whose certificate is not from an authority trusted here"
    )


@every_client
async def test_a_rabbitmq_whose_authority_is_unknown_is_refused(
    files: Files, rabbitmq: str, client: AmqpClient
) -> None:
    url = f"amqps://{USER}@{rabbitmq}/"
    await check_rabbitmq(f"{url}?cafile={files.authority}", client)

    with pytest.raises(Unusable) as refused:
        await check_rabbitmq(url, client)

    assert str(refused.value) == (
        f"RABBITMQ_URL points to amqps://guest:***@{rabbitmq}/, "
        "whose certificate is not from an authority trusted here"
    )


@every_client
async def test_a_certificate_for_another_host_is_refused(
    system: System, files: Files, client: AmqpClient
) -> None:
    other = f"127.0.0.2:{await listen(system, files, host='127.0.0.2')}"

    with pytest.raises(Unusable, match=r", whose certificate is for another host$"):
        await check_rabbitmq(f"amqps://{USER}@{other}/?cafile={files.authority}", client)


@every_client
async def test_rabbitmq_may_require_client_certificates(
    system: System, files: Files, client: AmqpClient
) -> None:
    port = await listen(system, files, client_certificates=True)
    url = f"amqps://{USER}@localhost:{port}/?cafile={files.authority}"
    await check_rabbitmq(f"{url}&certfile={files.own}&keyfile={files.own}", client)

    with pytest.raises(Unusable, match=_LACKING[client]):
        await check_rabbitmq(url, client)
