"""Nothing is silent for long, on a terminal or in a log."""

import time

import pytest

from cartwheel.local import console


def test_what_takes_long_is_said_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PATIENCE", 0.2)

    with console.Console().doing("waiting"):
        time.sleep(0.6)

    first, *again, last = capsys.readouterr().err.splitlines()
    assert first == "… waiting"
    assert again
    assert all(line.startswith("  still waiting (") for line in again)
    assert last.startswith("✓ waiting (")


def test_what_takes_long_says_how_far_it_has_come(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PATIENCE", 0.2)

    with console.Console().doing("filling") as so_far:
        so_far("40 %")
        time.sleep(0.6)

    _, *again, last = capsys.readouterr().err.splitlines()
    assert again
    assert all(line.startswith("  still filling: 40 % (") for line in again)
    assert last.startswith("✓ filling (")


def test_what_fails_is_not_said_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), console.Console().doing("trying"):
        raise ValueError("no")

    assert "✓" not in capsys.readouterr().err
