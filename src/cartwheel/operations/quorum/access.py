"""How a cluster is looked at, and how steps are done there."""

from typing import Protocol

from cartwheel.operations.quorum.cluster import Cluster
from cartwheel.operations.quorum.steps import Step


class CannotLook(Exception):
    """The cluster cannot be seen this way; the message says why, as a sentence."""


class CannotDo(Exception):
    """A step cannot be done this way; the message says why, as a sentence."""


class Access(Protocol):
    async def look(self) -> Cluster:
        """Return the cluster with our queues.

        Raises:
            CannotLook: it cannot be seen this way.
        """
        ...

    async def do(self, step: Step, *, at: str) -> None:
        """Do `step`, asking the node `at` if one has to be asked. May be repeated; what it brings
        shows in the next looks.

        Raises:
            CannotDo: some or all of it was not done.
        """
        ...
