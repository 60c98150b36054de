"""What is missing is installed where that is possible, and named where it is not."""

import sys
from pathlib import Path

import pytest

from cartwheel.local import bootstrap, packages
from cartwheel.local.console import QUIET


def test_where_there_is_no_apt_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(packages.Missing) as refused:
        packages.install({"rabbitmq-server": "RabbitMQ; or set RABBITMQ_URL"}, QUIET)

    assert str(refused.value).endswith("rabbitmq-server (RabbitMQ; or set RABBITMQ_URL)")
    assert "\n" not in str(refused.value)


def test_a_failed_installation_shows_the_end_of_its_output() -> None:
    script = "print('E: no such package'); raise SystemExit(100)"

    with pytest.raises(packages.Missing, match="status 100\nE: no such package"):
        packages.run_shown([sys.executable, "-c", script], "installing", QUIET)


def test_uv_is_taken_from_the_lock_with_its_hashes() -> None:
    stanza = bootstrap.stanza(bootstrap.LOCK.read_text(), "uv")

    name, *hashes = stanza.splitlines()
    assert name.startswith("uv==")
    assert hashes
    assert all("--hash=sha256:" in line for line in hashes)


def test_no_lock_names_the_place_its_packages_came_from() -> None:
    for lock in (bootstrap.LOCK, Path(bootstrap.ROOT, "requirements-ministack.lock")):
        assert "://" not in lock.read_text()
