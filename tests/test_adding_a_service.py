"""docs/adding.md adds a service, its messages and its endpoints: followed to the letter, it works.

The page is followed in a copy of the repository. What it made runs beside the running system, on
the same RabbitMQ and MongoDB, and is gone at the end.
"""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aio_pika
import msgspec
import pytest

from cartwheel.kernel._bus import topology
from cartwheel.kernel._store.client import Client
from cartwheel.local import ports
from cartwheel.local.console import QUIET
from cartwheel.local.processes import Process, command
from cartwheel.local.supervisor import supervising
from cartwheel.local.up import System

from .journeys.shop import Shelf, Shop, open_shop
from .waiting import eventually

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "adding.md"
NEEDED = ("pyproject.toml", "README.md", "docs", "src", "tests")
NAME = "reviews"

_BLOCK = re.compile(
    r"^`(?P<path>[\w/]+\.\w+)`|^```(?P<kind>python|diff)\n(?P<text>.*?)^```$", re.M | re.S
)


class Block(NamedTuple):
    """A new file (`python`), or a change of one that is there (`diff`)."""

    path: str
    kind: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    path = ""
    for found in _BLOCK.finditer(page):
        if found["path"]:
            path = found["path"]
        else:
            yield Block(path, found["kind"], found["text"])


def follow(page: str, home: Path) -> list[Path]:
    """Do what the page says in `home`; return the files that it makes or changes."""
    touched: list[Path] = []
    for path, kind, text in blocks(page):
        file = home / path
        touched.append(file)
        if kind == "python":
            assert not file.exists(), f"{path} is there already"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            continue
        lines = text.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if not line.startswith("+"))
        after = "".join(line[1:] for line in lines if not line.startswith("-"))
        content = file.read_text()
        assert content.count(before) == 1, f"{path} has this {content.count(before)} times:\n{text}"
        file.write_text(content.replace(before, after))
    return list(dict.fromkeys(touched))


async def does(home: Path, *argv: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a program on the code in `home`; return what it prints."""
    process = await create_subprocess_exec(
        *argv,
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(home / "src"), **(environment or {})},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 600)
    assert process.returncode == 0, output.decode()
    return output.decode()


def installed(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


class Followed(NamedTuple):
    home: Path
    touched: list[Path]

    @property
    def code(self) -> list[str]:
        return [str(path) for path in self.touched if path.suffix == ".py"]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    home = tmp_path_factory.mktemp("adding") / "cartwheel"
    home.mkdir()
    skip = shutil.ignore_patterns("__pycache__")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, home / name, ignore=skip)
        else:
            shutil.copy(ROOT / name, home / name)
    (home / ".venv").symlink_to(sys.prefix)
    return Followed(home, follow(PAGE.read_text(), home))


@pytest.fixture
async def environment(
    followed: Followed, system: System, client: Client
) -> AsyncGenerator[dict[str, str]]:
    """For the page's code on the running system's servers; nothing of it is left over there."""
    own = {"PYTHONPATH": str(followed.home / "src"), "PORT": str(ports.find_free())}
    yield {**system.environment, **own}
    await client.drop_database(NAME)
    async with await aio_pika.connect(system.environment["RABBITMQ_URL"]) as connection:
        channel = await connection.channel()
        for queue in topology.queues(NAME):
            await channel.queue_delete(queue)


@asynccontextmanager
async def running(
    home: Path, environment: Mapping[str, str], *packages: str
) -> AsyncGenerator[None]:
    async with supervising(home, QUIET) as supervisor:
        for name in packages:
            argv = (sys.executable, "-m", f"cartwheel.{name}.app")
            await supervisor.run(command(Process(name, argv), environment))
        yield


@asynccontextmanager
async def published(system: System, routing_key: str) -> AsyncGenerator[list[dict[str, Any]]]:
    """Yield a list that gets what the events say that are published meanwhile."""
    events: list[dict[str, Any]] = []

    async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        events.append(msgspec.json.decode(message.body))

    async with await aio_pika.connect(system.environment["RABBITMQ_URL"]) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.EXCHANGE, routing_key)
        await queue.consume(keep, no_ack=True)
        yield events


async def test_what_the_page_makes_passes_the_checks(followed: Followed) -> None:
    home, code = followed.home, followed.code

    await does(home, installed("ruff"), "format", "--check", *code)
    await does(home, installed("ruff"), "check", *code)
    await does(home, installed("lint-imports"), "--no-cache")
    await does(home, installed("basedpyright"), *code)


async def test_its_messages_get_golden_files_and_the_service_has_the_shape_of_all(
    followed: Followed,
) -> None:
    pytests = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    golden = followed.home / "tests" / "contracts" / "golden"
    there = {path: path.read_bytes() for path in golden.iterdir()}

    made = ("tests/contracts/test_golden.py", "tests/pages/test_errors.py")
    await does(followed.home, *pytests, *made, environment={"UPDATE_GOLDEN": "1"})
    await does(followed.home, *pytests, *made, "tests/contracts", "tests/test_shape.py")

    changed = {path.name for path in golden.iterdir() if path.read_bytes() != there.get(path)}
    assert changed == {
        *("add_review.request.json", "add_review.answer.json"),
        *("list_reviews.request.json", "list_reviews.answer.json"),
        *("review.added.v1.json", "routes.json", "refusals.json"),
    }
    assert "| `not_bought` |" in (followed.home / "docs" / "errors.md").read_text()


async def test_who_has_bought_a_product_reviews_it_and_everybody_is_told(
    system: System, environment: dict[str, str], followed: Followed, tmp_path: Path
) -> None:
    setup = await does(
        followed.home, sys.executable, "-m", "cartwheel.cli", "setup", environment=environment
    )
    assert f"{NAME}: 1 migrations" in setup
    async with (
        running(tmp_path, environment, NAME, "gateway"),
        open_shop(f"http://{environment['HOST']}:{environment['PORT']}") as shop,
        published(system, "review.added.v1") as told,
    ):
        await buys_and_reviews(shop, told)


async def buys_and_reviews(shop: Shop, told: list[dict[str, Any]]) -> None:
    product = await Shelf(await shop.admin()).put_up()
    customer, other = await shop.sign_up("Grace Hopper"), await shop.sign_up("Ada Lovelace")
    path, review = f"/reviews/{product['id']}", {"stars": 5, "text": "It walks."}
    order = (await customer.order(product)).made
    assert (await customer.pay(order)).made

    async def reviewed() -> None:
        assert (await customer.post(path, review)).status == 204

    await eventually(reviewed)
    await reviewed()
    (await customer.post(path, {**review, "stars": 1})).refused(409, "already_reviewed")
    (await other.post(path, review)).refused(403, "not_bought")
    (await other.post(path, {**review, "stars": 6})).refused(422)

    said = {"product_id": product["id"], "author": "Grace Hopper", **review}
    assert (await other.get(path)).found == {"data": [said], "next_cursor": None}

    async def heard() -> None:
        assert told == [{"review": said}]

    await eventually(heard)


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('-SERVICES = ("products",', '-SERVICES = ("goods",'),
        ("`src/cartwheel/reviews/app.py`", "`src/cartwheel/orders/app.py`"),
    ],
)
def test_a_page_that_no_longer_fits_the_code_is_noticed(
    said: str, instead: str, tmp_path: Path
) -> None:
    page = PAGE.read_text()
    assert page.count(said) == 1
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copytree(ROOT / "tests" / "contracts", tmp_path / "tests" / "contracts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    with pytest.raises(AssertionError):
        follow(page.replace(said, instead), tmp_path)
