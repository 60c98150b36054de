"""Where a process runs: an address, and the command that places a process there."""

import msgspec


class Host(msgspec.Struct, frozen=True):
    """A place at `address`. A command line that starts with `inside` runs there."""

    address: str = "127.0.0.1"
    inside: tuple[str, ...] = ()


LOOPBACK = Host()
