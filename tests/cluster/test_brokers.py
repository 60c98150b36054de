"""The addresses of the RabbitMQ nodes."""

import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from cartwheel.local.cluster import brokers
from cartwheel.local.cluster.network import Network
from cartwheel.local.host import LOOPBACK


def ports(urls: str) -> list[int | None]:
    return [urlsplit(url).port for url in urls.split(",")]


def test_nodes_that_share_loopback_are_found_at_their_ports_once_they_listen(
    tmp_path: Path,
) -> None:
    nodes = brokers.choose(tmp_path, Network(dict.fromkeys(brokers.NAMES, LOOPBACK)))
    chosen = nodes.variables

    with ExitStack() as listening:
        for name, url in chosen.items():
            for port in ports(url):
                listening.enter_context(socket.create_server(("127.0.0.1", port)))
            assert len({*ports(url)}) == len(brokers.NAMES), name
        assert nodes.variables == chosen

    for node, port in zip(
        nodes.nodes.values(), ports(chosen["RABBITMQ_MANAGEMENT_URL"]), strict=True
    ):
        assert f"management.tcp.port = {port}\n" in node.settings
