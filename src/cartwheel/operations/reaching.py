"""Reaching the system: by the environment, or the instance that runs from this folder."""

import os

import msgspec

from cartwheel.kernel.settings import AmqpClient, AmqpUrl
from cartwheel.local import instance

CONNECT_TIMEOUT_SECONDS = 5.0


class NotRunning(Exception):
    """There is nothing to reach."""


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    rabbitmq_url: AmqpUrl
    amqp_client: AmqpClient = "built-in"


def use_running_instance() -> None:
    """Complete this process's environment by the running instance's; what is set already wins.

    Where none runs, by the running cluster's.
    """
    found = instance.environment(instance.folder())
    for name, value in (found or instance.environment(instance.cluster_folder())).items():
        os.environ.setdefault(name, value)
