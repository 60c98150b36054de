"""Hostile connections use a bounded amount of the gateway's memory, whatever they send."""

import psutil
import pytest

from bench.attacks import ATTACKS, Peak, attack
from cartwheel.local import ports
from cartwheel.local.up import System

MOST = 50_000_000
"""Bytes by which the gateway may grow during one attack with 50 connections."""


@pytest.mark.parametrize("name", ATTACKS)
async def test_fifty_hostile_connections_use_little_memory(system: System, name: str) -> None:
    port = int(system.environment["PORT"])
    peak = Peak(gateway(port).pid)
    await attack(port, ATTACKS[name], seconds=1.0)
    assert peak.growth() < MOST


def gateway(port: int) -> psutil.Process:
    holder = ports.holder(port)
    assert holder is not None
    return holder
