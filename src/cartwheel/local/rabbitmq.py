"""A private RabbitMQ node: own name, ports, cookie and folders, loopback only.

Nothing of the machine's own RabbitMQ is used but its programs: not its epmd (Erlang's name
server), its cookie or its configuration. The variables are those of
https://www.rabbitmq.com/docs/configure#supported-environment-variables.
"""

import os
import secrets
import shutil
from pathlib import Path

from cartwheel.local import instance
from cartwheel.local.command import Command
from cartwheel.local.supervisor import Supervisor

PROGRAM = "RabbitMQ"
_UNWRAPPED = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""Debian's rabbitmq-server on PATH is a wrapper that switches to the user of the system service."""

_SETTINGS = """\
listeners.tcp.default = 127.0.0.1:{port}
log.console = true
log.console.level = info
log.file = false
"""


def find() -> str | None:
    """Return the program that starts RabbitMQ, or None."""
    if Path(_UNWRAPPED).exists():
        return _UNWRAPPED
    return shutil.which("rabbitmq-server", path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin")


def missing_packages() -> dict[str, str]:
    """Return Debian's packages that are lacking, each with what it is for."""
    return {} if find() else {"rabbitmq-server": "RabbitMQ; or set RABBITMQ_URL"}


async def provide(supervisor: Supervisor) -> dict[str, str]:
    """Start RabbitMQ on the instance's data; return the variables that reach it."""
    home = supervisor.home
    folder = instance.make_folder(home / "rabbitmq")
    port = instance.port(home, "rabbitmq")
    instance.write_private(folder / "rabbitmq.conf", _SETTINGS.format(port=port))
    instance.write_private(folder / "enabled_plugins", "[].\n")
    instance.write_private(folder / "rabbitmq-env.conf", "")
    await supervisor.run(
        Command(
            name="rabbitmq",
            argv=(find() or "rabbitmq-server",),
            environment=_environment(home, folder),
        )
    )
    return {"RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{port}/"}


def _environment(home: Path, folder: Path) -> dict[str, str]:
    # The node's data lie under its name, so the name is remembered rather than derived from the
    # folder: an instance that has been moved finds its messages again.
    node = instance.remember(home, "rabbitmq_node", lambda: f"cartwheel-{secrets.token_hex(3)}")
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),  # the cookie is there
        "ERL_EPMD_PORT": str(instance.port(home, "epmd")),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"{node}@localhost",
        "RABBITMQ_DIST_PORT": str(instance.port(home, "erlang")),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
