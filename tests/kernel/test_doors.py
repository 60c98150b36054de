"""The kernel's doors: what others may import, and that importing it changes nothing."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import cartwheel.contracts
import cartwheel.kernel

DOORS = ("", ".lowlevel", ".mongodb", ".operating", ".testing")

_IMPORT_EVERYTHING = """
import asyncio, gc, importlib, logging, pkgutil, signal, sys

before = (
    asyncio.wait_for, gc.get_threshold(), signal.getsignal(signal.SIGTERM), sys.excepthook,
    list(logging.getLogger().handlers), asyncio.get_event_loop_policy(),
)
import cartwheel.kernel
for module in pkgutil.walk_packages(cartwheel.kernel.__path__, "cartwheel.kernel."):
    importlib.import_module(module.name)
after = (
    asyncio.wait_for, gc.get_threshold(), signal.getsignal(signal.SIGTERM), sys.excepthook,
    list(logging.getLogger().handlers), asyncio.get_event_loop_policy(),
)
assert after == before, (before, after)
filtered = {
    name for name, each in logging.root.manager.loggerDict.items() if getattr(each, "filters", None)
}
assert not filtered, filtered
"""

_TECHNOLOGY = ("pymongo", "aio_pika", "aiormq", "aiohttp", "aiobotocore", "botocore", "litestar")


def test_no_import_of_the_kernel_changes_the_process() -> None:
    done = subprocess.run(  # noqa: S603 this very interpreter
        [sys.executable, "-c", _IMPORT_EVERYTHING], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


CONTRACTS = ", ".join(
    f"cartwheel.contracts.{each.name}"
    for each in pkgutil.iter_modules(cartwheel.contracts.__path__)
)


@pytest.mark.parametrize("modules", ["cartwheel.kernel", CONTRACTS])
def test_contracts_and_the_front_door_load_no_technology(modules: str) -> None:
    program = f"import sys, {modules}; print(*set(sys.modules) & {set(_TECHNOLOGY)})"

    done = subprocess.run(  # noqa: S603 this very interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []


@pytest.mark.parametrize("door", DOORS)
def test_each_public_name_can_be_imported_and_has_a_docstring(door: str) -> None:
    module = importlib.import_module(f"cartwheel.kernel{door}")
    assert module.__doc__

    silent = [
        name
        for name in module.__all__
        if inspect.isclass(it := getattr(module, name)) or inspect.isfunction(it)
        if it.__module__.startswith("cartwheel") and not it.__doc__
    ]

    assert silent == []


def test_everything_else_is_private() -> None:
    public = {
        module.name
        for module in pkgutil.iter_modules(cartwheel.kernel.__path__)
        if not module.name.startswith("_")
    }

    assert public == {
        "aws",
        "errors",
        "http_client",
        "lowlevel",
        "mongodb",
        "operating",
        "servers",
        "settings",
        "testing",
    }
