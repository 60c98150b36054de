"""A private RabbitMQ node: own name, ports, cookie and folders.

Only the programs of the machine's own RabbitMQ are used, not its epmd (Erlang's name server), its
cookie or its configuration. The variables are documented at
https://www.rabbitmq.com/docs/configure#supported-environment-variables.
"""

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cartwheel.local import instance
from cartwheel.local.command import Command
from cartwheel.local.host import LOOPBACK, Host
from cartwheel.local.supervisor import Supervisor

PROGRAM = "RabbitMQ"
_UNWRAPPED = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""Debian's rabbitmq-server on PATH is a wrapper that switches to the user of the system service."""

_SETTINGS = """\
listeners.tcp.default = {address}:{port}
log.console = true
log.console.level = info
log.file = false
"""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of a node.

    Its data is in a folder named `name`, and there under its `erlang_name` (`NAME@HOST`).
    `settings` are further lines of rabbitmq.conf. The nodes of a cluster share `cookie` and
    `epmd_port`. They find each other by `erlang_hosts`, which maps each HOST to an address.
    """

    name: str
    erlang_name: str
    port: int
    erlang_port: int
    epmd_port: int
    host: Host = LOOPBACK
    settings: str = ""
    cookie: str = ""
    erlang_hosts: Mapping[str, str] = {}
    plugins: tuple[str, ...] = ()


def find() -> str | None:
    """Return the program that starts RabbitMQ, or None."""
    if Path(_UNWRAPPED).exists():
        return _UNWRAPPED
    return shutil.which("rabbitmq-server", path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin")


def missing_packages() -> dict[str, str]:
    """Return the missing Debian packages, each with its purpose."""
    return {} if find() else {"rabbitmq-server": "RabbitMQ; or set RABBITMQ_URL"}


async def provide(supervisor: Supervisor) -> dict[str, str]:
    """Start RabbitMQ with the instance's data; return the variables with its address."""
    home = supervisor.home
    # The data is stored under the node's name. The name is stored, not derived from the folder, so
    # that an instance still finds its messages after its folder was moved.
    name = instance.remember(home, "rabbitmq_node", lambda: f"cartwheel-{secrets.token_hex(3)}")
    node = Node(
        name="rabbitmq",
        erlang_name=f"{name}@localhost",
        port=instance.port(home, "rabbitmq"),
        erlang_port=instance.port(home, "erlang"),
        epmd_port=instance.port(home, "epmd"),
    )
    await supervisor.run(command(home, node))
    return {"RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{node.port}/"}


def command(home: Path, node: Node) -> Command:
    """Write the configuration of `node` to its folder; return the command that starts it."""
    folder = instance.make_folder(home / node.name)
    settings = _SETTINGS.format(address=node.host.address, port=node.port)
    instance.write_private(folder / "rabbitmq.conf", settings + node.settings)
    instance.write_private(folder / "enabled_plugins", f"[{', '.join(node.plugins)}].\n")
    instance.write_private(folder / "rabbitmq-env.conf", "")
    if node.erlang_hosts:
        instance.write_private(folder / "inetrc", _name_service(node.erlang_hosts))
    if node.cookie:
        instance.write_private(folder / ".erlang.cookie", node.cookie)
    return Command(
        name=node.name,
        argv=(*node.host.inside, find() or "rabbitmq-server"),
        environment=environment(home, node),
        where=f"{node.host.address}:{node.port}",
    )


def _name_service(hosts: Mapping[str, str]) -> str:
    """Return the configuration of Erlang's name service: `hosts`, then the system's names.

    Source: https://www.erlang.org/doc/apps/erts/inet_cfg
    """
    names: dict[str, list[str]] = {}
    for name, address in hosts.items():  # Erlang uses only one line per address
        names.setdefault(address, []).append(f'"{name}"')
    lines = [f"{{host, {_as_tuple(at)}, [{', '.join(each)}]}}." for at, each in names.items()]
    return "\n".join([*lines, "{lookup, [file, native]}.", ""])


def _as_tuple(address: str) -> str:
    return f"{{{address.replace('.', ',')}}}"


def environment(home: Path, node: Node) -> dict[str, str]:
    """Return the variables of the node and of its tools, such as rabbitmqctl."""
    folder = home / node.name
    interface = f"-kernel inet_dist_use_interface {_as_tuple(node.host.address)}"
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),  # contains the cookie
        "ERL_EPMD_PORT": str(node.epmd_port),
        "ERL_EPMD_ADDRESS": node.host.address,
        **({"ERL_INETRC": str(folder / "inetrc")} if node.erlang_hosts else {}),
        "RABBITMQ_NODENAME": node.erlang_name,
        "RABBITMQ_DIST_PORT": str(node.erlang_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": interface,
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
