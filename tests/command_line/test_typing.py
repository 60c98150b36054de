"""The `cartwheel` command as people type it: help, the version, mistakes, Ctrl-C."""

import socket
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cartwheel.cli import app

from .conftest import PYTHON, Terminal, all_commands, ctrl_c

_IN_ONE_PROCESS = """
import sys
from cartwheel.cli import app
DRIVERS = {"pymongo", "aio_pika", "aiormq", "aiobotocore", "botocore", "aiohttp", "litestar"}
for typed in sys.argv[1:]:
    try:
        app(typed.split())
    except SystemExit as end:
        assert end.code == 0, typed
    found = DRIVERS & sys.modules.keys()
    assert not found, f"{typed} imports {found}"
"""

_CPU = """
import atexit, sys, time
atexit.register(lambda: print(time.process_time(), file=sys.stderr))
from cartwheel.cli import main
main()
"""


def test_no_help_and_no_version_imports_a_driver(terminal: Terminal) -> None:
    typed = [f"{command} --help" for command in all_commands()]
    assert "dlq audit --help" in typed
    ran = terminal.run(*typed, "--version", program=(PYTHON, "-c", _IN_ONE_PROCESS))
    assert ran.errors == ""
    assert ran.status == 0


def test_help_takes_less_than_0_4_s_of_cpu(terminal: Terminal) -> None:
    program = (PYTHON, "-c", _CPU)
    took = [float(terminal.run("--help", program=program).errors) for _ in range(5)]
    # Take the smallest value: other load on the machine slows the command down.
    assert min(took) < 0.4


def test_mail_needs_no_mongodb(terminal: Terminal) -> None:
    needs = "import sys, cartwheel.operations.mail; sys.exit('pymongo' in sys.modules)"
    assert terminal.run(program=(PYTHON, "-c", needs)).status == 0


@pytest.mark.parametrize("command", all_commands())
def test_h_is_help(command: str) -> None:
    short, long = (CliRunner().invoke(app, [*command.split(), flag]) for flag in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output
    assert "Usage: " in short.output
    assert command in short.output.splitlines()[0]


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"cartwheel {version('cartwheel')}\n"


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("--nonsense", "--nonsense"),
        ("mail --nonsense", "--nonsense"),
        ("up --replicas order=2", "--replicas"),
        ("mail --limit 0", "--limit"),
        ("mail --order nonsense", "--order"),
        ("verify --grace soon", "--grace"),
        ("dlq list --service gateway", "--service"),
        ("dlq replay evt_1 --service gateway", "--service"),
        ("dlq replay evt_1 --all", "--all"),
        ("dlq replay", "--all"),
        ("dlq drop evt_1", "--why"),
        ("dlq drop evt_1 --why=", "--why"),
    ],
)
def test_a_wrong_option_is_named(typed: str, named: str) -> None:
    ran = CliRunner().invoke(app, typed.split())
    assert ran.exit_code == 2
    assert named in ran.stderr.splitlines()[-1]


def test_ctrl_c_ends_a_command_silently(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"amqp://127.0.0.1:{mute.getsockname()[1]}/"
        typed = terminal.start("mail", RABBITMQ_URL=url)
        with mute.accept()[0]:  # the server never answers, so the command waits
            ran = ctrl_c(typed)
    assert (ran.status, ran.output, ran.errors) == (130, "", "")


def test_ctrl_c_at_a_question_ends_the_command_and_nothing_is_done(
    terminal: Terminal, tmp_path: Path
) -> None:
    typed = terminal.start("reset")
    assert typed.stdout is not None
    asked = typed.stdout.read(len("Delete all of this?"))
    # Python ignores a Ctrl-C between printing the question and reading the answer.
    time.sleep(1)

    ran = ctrl_c(typed)

    assert asked == "Delete all of this?"
    assert ran.status == 130
    assert "Traceback" not in ran.errors
    assert tmp_path.exists()


@pytest.mark.parametrize("module", ["uuid_utils", "pymongo"], ids=["to type", "to run"])
def test_ctrl_c_during_imports_ends_a_command_silently(
    terminal: Terminal, tmp_path: Path, module: str
) -> None:
    typed = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
    (tmp_path / f"{module}.py").write_text(typed)
    ran = terminal.run("verify", PYTHONPATH=str(tmp_path))
    assert (ran.status, ran.output, ran.errors) == (130, "", "")


def test_an_error_is_one_line_on_stderr(terminal: Terminal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        url = f"amqp://127.0.0.1:{taken.getsockname()[1]}/"
        ran = terminal.run("mail", "--json", RABBITMQ_URL=url)
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors == "✗ RabbitMQ does not answer: is the system up?\n"


def test_colors_are_for_terminals_that_want_them(terminal: Terminal) -> None:
    said = "✗ RABBITMQ_URL is not set"
    assert terminal.run("mail").errors.splitlines()[0] == said
    assert terminal.show("mail", NO_COLOR="1").splitlines()[0] == said
    assert terminal.show("mail").splitlines()[0] == said.replace("✗", "\x1b[31m✗\x1b[0m")


def test_all_mail_is_previewed_without_a_running_system(terminal: Terminal, tmp_path: Path) -> None:
    page = tmp_path / "mail.html"

    ran = terminal.run("mail", "preview", "--no-open", "--to", str(page), SHOP_NAME="Bits & Pieces")
    nowhere = terminal.run("mail", "preview", "--no-open", "--to", str(tmp_path / "no" / "page"))
    malformed = terminal.run("mail", "preview", "--no-open", ORDER_URL="nonsense")

    assert (ran.status, ran.output) == (0, f"✓ {page}\n"), ran.errors
    shown = page.read_text(encoding="utf-8")
    assert "<title>Mail of Bits &amp; Pieces</title>" in shown
    for event in ("order.paid.v1", "order.confirmation_due.v1", "dead_letters.found.v1"):
        assert event in shown
    assert (nowhere.status, malformed.status) == (1, 2)
    assert "ORDER_URL is malformed" in malformed.errors
