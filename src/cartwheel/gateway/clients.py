"""The address of the client behind a connection, and how many connections it holds."""

import ipaddress
from collections import Counter
from collections.abc import Iterable


class Networks:
    """Addresses and networks as a setting lists them: "10.0.0.5, 172.16.0.0/12, fd00::/8".

    Raises:
        ValueError: the text is not such a list.
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
    """Counts the connections of each address, and finds the client behind a proxy.

    An IPv6 /64 counts as one address: a single customer gets at least that (RFC 6177).
    """

    def __init__(self, *, most: int = 1024, trusted: Networks = NOBODY) -> None:
        """Args:
        most: how many connections one address may hold; 0 for no limit. Trusted proxies have no
            limit, since they carry many clients.
        trusted: the proxies whose X-Forwarded-For is believed.
        """
        self._most = most
        self._trusted = trusted
        self._held: Counter[str] = Counter()

    def connected(self, address: str) -> bool:
        """Count one more connection; return whether the address is still within its limit."""
        key = subscriber(address)
        self._held[key] += 1
        return not self._most or self._held[key] <= self._most or address in self._trusted

    def disconnected(self, address: str) -> None:
        key = subscriber(address)
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]

    def forwarded(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the client's address if `peer` is a trusted proxy that names it.

        Each proxy appends the address of its caller to X-Forwarded-For. So the client is the
        rightmost address that is not a trusted proxy. Anything to its left may be forged.
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
    """Return an address, without the port that some proxies add; None if it is not one."""
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


def subscriber(address: str) -> str:
    """Return what counts as one address."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed) if parsed else address
