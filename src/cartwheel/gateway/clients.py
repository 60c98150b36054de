"""Whose connection this is: the address of the client, also behind trusted proxies."""

import ipaddress
from collections import Counter
from collections.abc import Iterable


class Networks:
    """Addresses and networks, as written in a setting: "10.0.0.5, 172.16.0.0/12, fd00::/8".

    Raises:
        ValueError: the text is something else.
    """

    def __init__(self, text: str) -> None:
        try:
            self._networks = [
                ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()
            ]
        except ValueError:
            raise ValueError(
                "Expected addresses and networks such as 10.0.0.5, 172.16.0.0/12"
            ) from None

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)


NOBODY = Networks("")


class Clients:
    """How many connections each address holds, and who is behind a proxy.

    Of IPv6, a /64 counts as one address: a single customer gets at least that (RFC 6177).
    """

    def __init__(self, *, most: int = 1024, trusted: Networks = NOBODY) -> None:
        """Args:
        most: the connections that one address may hold; 0 for no limit. It does not hold for
            trusted proxies, since they carry many clients.
        trusted: the proxies whose X-Forwarded-For is believed.
        """
        self._most = most
        self._trusted = trusted
        self._held: Counter[str] = Counter()

    def connected(self, address: str) -> bool:
        """Count one more connection, and return whether that is still within the limit."""
        key = _subscriber(address)
        self._held[key] += 1
        return not self._most or self._held[key] <= self._most or address in self._trusted

    def disconnected(self, address: str) -> None:
        key = _subscriber(address)
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]

    def forwarded(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the client's address where `peer` is a trusted proxy that tells it.

        Each proxy appends the address that it was called from to X-Forwarded-For. So the rightmost
        address that is no trusted proxy's is the client's; what stands left of it, the client may
        have written itself.
        """
        if peer not in self._trusted:
            return None
        client = None
        forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        for entry in reversed(forwarded.decode("latin-1").split(",")):
            address = _parsed(entry)
            if address is None:
                break
            client = str(address)
            if client not in self._trusted:
                break
        return client


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, without the port that some proxies add; None for what is none."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _subscriber(address: str) -> str:
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed) if parsed else address
