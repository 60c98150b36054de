"""Finding the running system: from the environment, or the instance started in this folder."""

import os

import msgspec

from cartwheel.kernel.settings import AmqpClient, AmqpUrl
from cartwheel.local import instance

CONNECT_TIMEOUT_SECONDS = 5.0


class NotRunning(Exception):
    """The system, or a dependency of it, does not answer."""


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    rabbitmq_url: AmqpUrl
    amqp_client: AmqpClient = "built-in"


def use_running_instance() -> None:
    """Add the running instance's environment to this process's. Variables already set win.

    If no instance is running, use the running cluster's environment.
    """
    found = instance.environment(instance.folder())
    for name, value in (found or instance.environment(instance.cluster_folder())).items():
        os.environ.setdefault(name, value)
