"""The port for reading a cluster's state and changing it."""

from typing import Protocol

from cartwheel.operations.quorum.cluster import Cluster
from cartwheel.operations.quorum.steps import Step


class CannotLook(Exception):
    """The cluster's state cannot be read this way. The message is a sentence with the reason."""


class CannotDo(Exception):
    """A step cannot be done this way. The message is a sentence with the reason."""


class Access(Protocol):
    async def look(self) -> Cluster:
        """Return the cluster's state with our queues.

        Raises:
            CannotLook: it cannot be read this way.
        """
        ...

    async def do(self, step: Step, *, at: str) -> None:
        """Do `step`, through the node `at` if a node is needed. May be repeated.

        The next reads show its effect.

        Raises:
            CannotDo: the step, or some of it, was not done.
        """
        ...
