import socket
from pathlib import Path

import pytest

from cartwheel.kernel import new_id
from cartwheel.kernel.lowlevel import notify


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_readiness_is_reported_to_the_starter_of_the_process(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(tmp_path / "socket") if kind == "file" else "@" + new_id("test")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(1)

        notify("READY=1")

        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nobody/listens/here"])
def test_a_missing_listener_is_no_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    notify("READY=1")
