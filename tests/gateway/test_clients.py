"""Which address a request is from, behind proxies of one's own."""

import pytest

from cartwheel.gateway.clients import Clients, Networks
from cartwheel.gateway.settings import Settings
from cartwheel.kernel.settings import BadSettings, read

from .conftest import ELSEWHERE

CLIENTS = Clients(trusted=Networks("10.0.0.0/8, 192.0.2.1, fd00::/8"))
FORWARDED: dict[str, tuple[list[str], str | None]] = {
    "one": (["203.0.113.7"], "203.0.113.7"),
    "behind two proxies": (["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
    "in two headers": (["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
    "with one that the client made up": (["1.2.3.4, 203.0.113.7, 192.0.2.1"], "203.0.113.7"),
    "with a port": (["203.0.113.7:51234"], "203.0.113.7"),
    "IPv6": (["2001:db8::7"], "2001:db8::7"),
    "IPv6 with a port": (["[2001:db8::7]:443, fd00::1"], "2001:db8::7"),
    "IPv4 in IPv6": (["::ffff:203.0.113.7"], "203.0.113.7"),
    "a proxy itself": (["10.0.0.3"], "10.0.0.3"),
    "text behind a proxy": (["4242424242424242, 10.0.0.3"], "10.0.0.3"),
    "text": (["unknown"], None),
    "nothing": ([], None),
}


@pytest.mark.parametrize(("headers", "client"), FORWARDED.values(), ids=FORWARDED.keys())
def test_the_client_is_the_rightmost_address_that_is_not_a_proxy(
    headers: list[str], client: str | None
) -> None:
    given = [(b"x-forwarded-for", value.encode()) for value in headers]
    assert CLIENTS.forwarded("10.0.0.1", given) == client


def test_anybody_elses_header_is_ignored() -> None:
    given = [(b"x-forwarded-for", b"203.0.113.7")]
    assert CLIENTS.forwarded("203.0.113.9", given) is None
    assert Clients().forwarded("10.0.0.1", given) is None


def test_a_customers_whole_ipv6_network_counts_as_one_address() -> None:
    clients = Clients(most=2)
    assert [clients.connected(f"2001:db8::{n}") for n in range(3)] == [True, True, False]
    assert clients.connected("2001:db8:0:1::1")
    clients.disconnected("2001:db8::2")
    clients.disconnected("2001:db8::1")
    assert clients.connected("2001:db8::9")


@pytest.mark.parametrize("given", ["nonsense", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1 10.0.0.2"])
def test_a_malformed_list_of_proxies_stops_the_start(given: str) -> None:
    environment = {
        **ELSEWHERE,
        "COGNITO_USER_POOL_ID": "eu-west-1_x",
        "COGNITO_CLIENT_ID": "x",
        "TRUSTED_PROXIES": given,
    }
    with pytest.raises(BadSettings, match="TRUSTED_PROXIES is malformed: expected addresses"):
        read(Settings, environment)
