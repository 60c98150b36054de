"""A company's package index: over TLS, with a certificate from its own authority."""

import http.server
import ssl
import threading
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..certificates import make_certificates

WHEEL = "toy-1-py3-none-any.whl"


class Index(NamedTuple):
    """`url` of an index that holds the package `toy`; `authority` is the file to trust it by."""

    url: str
    authority: Path


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def private_index(folder: Path) -> Generator[Index]:
    """Serve the index on loopback; `folder` holds its files."""
    authority, chain = folder / "authority.pem", folder / "server.pem"
    make_certificates(authority, chain)
    _make_package(folder / "simple" / "toy")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Quiet, directory=str(folder))
    ) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield Index(f"https://localhost:{server.server_port}/simple", authority)
        finally:
            server.shutdown()
            serving.join()


def _make_package(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("toy.py", "")
        wheel.writestr("toy-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
        wheel.writestr("toy-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("toy-1.dist-info/RECORD", "")
