"""Three mongods that are one replica set."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from cartwheel.local import instance, mongod, replica_set
from cartwheel.local.cluster.network import Network
from cartwheel.local.cluster.waiting import until
from cartwheel.local.command import Command
from cartwheel.local.dependencies import side_by_side
from cartwheel.local.host import Host
from cartwheel.local.supervisor import Supervisor

NAMES = ("mongod.1", "mongod.2", "mongod.3")
PARAMETERS = (
    # A primary that is stopped first hands over to a secondary, if one has caught up by then.
    "shutdownTimeoutMillisForSignaledShutdown=3000",
)


class Members(msgspec.Struct, frozen=True):
    """The mongods by name, each with its host and port."""

    home: Path
    places: dict[str, tuple[Host, int]]

    @property
    def addresses(self) -> list[str]:
        return [f"{host.address}:{port}" for host, port in self.places.values()]

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables with the replica set's addresses."""
        return {"MONGODB_URI": mongod.uri(*self.addresses)}

    def commands(self) -> list[Command]:
        return [
            mongod.member(
                name,
                self.home,
                port,
                host=host,
                parameters=PARAMETERS,
                probe=_probe(f"{host.address}:{port}"),
            )
            for name, (host, port) in self.places.items()
        ]

    async def states(self) -> dict[str, str]:
        """Return the state that each member reports; DOWN if it does not answer."""
        said = await replica_set.states(self.addresses)
        return dict(zip(self.places, said, strict=True))

    async def are_healthy(self) -> bool:
        """Return whether all members are up and exactly one of them is the primary."""
        return replica_set.are_healthy(await replica_set.states(self.addresses))


def _probe(address: str) -> Callable[[], Awaitable[None]]:
    return lambda: replica_set.answers(address)


def choose(home: Path, network: Network) -> Members:
    """Return the members of the instance at `home`, with its stored ports."""
    return Members(home, {name: (network.hosts[name], instance.port(home, name)) for name in NAMES})


async def start(supervisor: Supervisor, members: Members) -> dict[str, str]:
    """Start the members; when they are one set, return the variables with its addresses.

    Raises:
        CannotStart: a member does not start.
    """
    await side_by_side(map(supervisor.run, members.commands()))
    await replica_set.form(members.addresses)
    with supervisor.console.doing("waiting for a primary"):
        await until(members.are_healthy)
    return members.variables
