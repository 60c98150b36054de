"""The other side of a comparison: its options, and its cleanup."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from bench.against import ROOT, Baseline, SideFailed, checked_out
from bench.run import options
from cartwheel.local.console import QUIET


def git(*words: str) -> str:
    who = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
    ran = subprocess.run(  # noqa: S603 our own words
        ["/usr/bin/env", "git", *who, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


def test_a_revision_and_a_setting_may_be_compared_together() -> None:
    chosen = options(["--against", "main~1", "--against-setting", "AMQP_CLIENT=aio-pika"])

    both = Baseline(revision="main~1", setting={"AMQP_CLIENT": "aio-pika"})
    assert chosen.against == both
    assert both.label == "main~1 AMQP_CLIENT=aio-pika"


def test_a_setting_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(["--against-setting", "AMQP_CLIENT"])

    assert "--against-setting takes NAME=VALUE" in capsys.readouterr().err


async def test_a_revision_that_does_not_exist_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await refused("no-such-revision", "git worktree add", tmp_path, monkeypatch)


async def test_a_revision_without_a_side_to_measure_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = git("hash-object", "-t", "tree", "-w", "/dev/null").strip()
    empty = git("commit-tree", nothing, "-m", "A revision without any file").strip()

    await refused(empty, "has no bench/side.py", tmp_path, monkeypatch)


async def refused(revision: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with pytest.raises(SideFailed, match=why):
        async with checked_out(revision, QUIET):
            pass

    assert os.listdir(tmp_path) == []
    assert str(tmp_path) not in git("worktree", "list")
