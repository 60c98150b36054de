"""An instance stores its ports and secrets, and runs once at a time."""

import os
import socket
from pathlib import Path

import pytest

from cartwheel.local import instance


def test_an_instance_runs_once_at_a_time(tmp_path: Path) -> None:
    with (
        instance.lock(tmp_path),
        pytest.raises(instance.InUse, match=f"process {os.getpid()}"),
        instance.lock(tmp_path),
    ):
        pass

    assert instance.runner(tmp_path) is None


def test_the_process_of_a_running_instance_is_known(tmp_path: Path) -> None:
    with instance.lock(tmp_path):
        assert instance.runner(tmp_path) == os.getpid()


def test_a_port_is_stored(tmp_path: Path) -> None:
    assert instance.port(tmp_path, "mongod") == instance.port(tmp_path, "mongod")


def test_a_taken_port_is_replaced_and_the_new_one_stored(tmp_path: Path) -> None:
    chosen = instance.port(tmp_path, "mongod")
    with socket.create_server(("127.0.0.1", chosen)):
        replaced = instance.port(tmp_path, "mongod")

    assert replaced != chosen
    assert instance.port(tmp_path, "mongod") == replaced


def test_secrets_are_stored_for_the_owner_only(tmp_path: Path) -> None:
    made = iter(["first", "second"])

    assert instance.remember(tmp_path, "key", lambda: next(made)) == "first"
    assert instance.remember(tmp_path, "key", lambda: next(made)) == "first"
    assert (tmp_path / "instance.json").stat().st_mode & 0o777 == 0o600


def test_other_terminals_read_the_environment_as_it_was_written(tmp_path: Path) -> None:
    values = {"MONGODB_URI": "mongodb://h/?a=1&b=2", "SES_SENDER": "Cart's <shop@example.com>"}

    instance.write_environment(tmp_path, values)

    assert instance.environment(tmp_path) == values
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600


def test_a_stopped_instance_has_no_environment(tmp_path: Path) -> None:
    instance.write_environment(tmp_path, {"PORT": "8000"})
    instance.forget_environment(tmp_path)

    assert instance.environment(tmp_path) == {}
