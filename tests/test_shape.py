"""Every service has the same structure: who knows one knows all."""

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cartwheel import services
from cartwheel.kernel import mongodb
from cartwheel.operations.verify.reading import Databases
from cartwheel.services import SERVICES, outboxes

SOURCE = Path(services.__file__).parent
PYPROJECT = SOURCE.parents[1] / "pyproject.toml"
FILES = {"app", "settings", "ports", "handlers", "domain", "mongo"}
"""The files of each service. `handlers` is a folder; `domain` and `mongo` may be folders."""

OTHER_TECHNOLOGY = {"notifications": {"ses"}}
"""Adapters other than `mongo`, named by their technology."""

OTHER_CONTRACTS = {"orders": ("fulfilment",)}
"""Modules of contracts beside the one that has the service's name."""

every_service = pytest.mark.parametrize("name", SERVICES)


def modules(folder: Path) -> set[str]:
    files = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    return files | {path.parent.name for path in folder.glob("*/__init__.py")}


def import_rule(begins: str) -> dict[str, Any]:
    rules = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    [rule] = [rule for rule in rules if rule["name"].startswith(begins)]
    return rule


@every_service
def test_a_service_has_the_files_that_every_service_has(name: str) -> None:
    found = modules(SOURCE / name)

    assert found >= FILES, f"{name} lacks {sorted(FILES - found)}"
    more = found - FILES - OTHER_TECHNOLOGY.get(name, set())
    assert not more, f"in no other service: {sorted(more)}; name an adapter by its technology"


@every_service
def test_a_service_has_a_folder_of_handlers(name: str) -> None:
    assert modules(SOURCE / name / "handlers")


@every_service
def test_a_service_is_declared_under_the_name_that_is_listed(name: str) -> None:
    service = import_module(f"cartwheel.{name}.app").service

    assert service.name == name
    assert service.settings is import_module(f"cartwheel.{name}.settings").Settings
    contracts = (name, *OTHER_CONTRACTS.get(name, ()))
    assert service.events == tuple(
        event for each in contracts for event in import_module(f"cartwheel.contracts.{each}").EVENTS
    )


@every_service
def test_the_import_rules_name_every_service(name: str) -> None:
    apart = import_rule("Services never import each other")["layers"]
    inside = import_rule("Inside a service")["containers"]

    [siblings] = [layer for layer in apart if "gateway" in layer]
    assert name in siblings.split(" | "), f'pyproject.toml: add "| {name}" to "{siblings}"'
    assert f"cartwheel.{name}" in inside, f'pyproject.toml: add "cartwheel.{name}" to {inside}'


async def test_cartwheel_verify_reads_every_outbox_by_a_name_of_its_own() -> None:
    async with mongodb.connect("mongodb://127.0.0.1:1/", process="tests") as unconnected:
        read = Databases.named(unconnected).with_outboxes()

    assert [(each.database.name, name) for name, each in read.items()] == list(outboxes())
