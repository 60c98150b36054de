"""Where a part runs: an address, and what puts a process there."""

import msgspec


class Host(msgspec.Struct, frozen=True):
    """`inside` is what the command line of a process begins with, to run at `address`."""

    address: str = "127.0.0.1"
    inside: tuple[str, ...] = ()


LOOPBACK = Host()
