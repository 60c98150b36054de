"""Faults at a share of requests, faults about money, and the command that asks for them."""

import asyncio
import itertools
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from typer.testing import CliRunner

from cartwheel.cli import app
from cartwheel.kernel import new_id
from cartwheel.operations import simulator as work
from cartwheel.operations import typed
from cartwheel.operations.reaching import NotRunning
from cartwheel.simulator.errors import BadRequest
from cartwheel.simulator.fault_kinds import EFFECTS, REQUESTS, FaultKind, Step, steps_of
from cartwheel.simulator.faults import MOST_FAULTS, Fault, Faults

from ..waiting import eventually
from .conftest import API_KEY, Answer, Receiver, Simulator

DOCS = Path(__file__).parents[2] / "docs" / "simulator.md"


async def ask_for(simulator: Simulator, kind: str, payment_id: str, **more: object) -> None:
    fault = {"kind": kind, "payment_id": payment_id, **more}
    assert (await simulator.post("/v1/faults", fault))[0] == 201


async def charged(simulator: Simulator, payment_id: str) -> Any:
    status, intent = await simulator.confirm(await simulator.intent(payment_id))
    assert (status, intent["status"]) == (200, "succeeded")
    return intent


async def lines(simulator: Simulator, payment_id: str) -> list[tuple[str, int]]:
    return [(line["kind"], line["amount"]) for line in await simulator.entries(payment_id)]


def test_a_fault_with_a_rate_occurs_at_that_share_of_the_steps() -> None:
    chance = itertools.cycle([0.05, 0.15, 0.95, 0.5])
    faults = Faults(lambda: next(chance))
    faults.add(Fault(kind=FaultKind.ERROR, rate=0.1, count=None))

    taken = [faults.take(Step.CONFIRM, f"pay_{n}") is not None for n in range(8)]

    assert taken == [True, False, False, False] * 2


def test_a_fault_that_chance_passes_over_leaves_the_step_to_the_next_and_is_not_used_up() -> None:
    faults = Faults(lambda: 0.5)
    faults.add(Fault(kind=FaultKind.ERROR, rate=0.1))
    faults.add(Fault(kind=FaultKind.DROP, rate=0.6))

    taken = faults.take(Step.CONFIRM, "pay_1")

    assert taken is not None
    assert taken.kind is FaultKind.DROP
    assert [fault.kind for fault in faults.pending] == [FaultKind.ERROR]


def test_only_so_many_faults_are_pending() -> None:
    faults = Faults()
    for _ in range(MOST_FAULTS):
        faults.add(Fault(kind=FaultKind.ERROR))

    with pytest.raises(BadRequest):
        faults.add(Fault(kind=FaultKind.ERROR))


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "rate": 0},
        {"kind": "error", "rate": 1.1},
        {"kind": "dispute", "on": "refund"},
        {"kind": "charge_wrong_amount", "on": "cancel"},
        {"kind": "webhook_lies", "on": "look_up"},
        {"kind": "rudeness"},
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(
    simulator: Simulator, fault: dict[str, object]
) -> None:
    status, answer = await simulator.post("/v1/faults", fault)

    assert (status, answer["error"]["code"]) == (400, "parameter_invalid")


async def test_a_wrong_amount_is_charged_and_the_ledger_says_so(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    await ask_for(simulator, "charge_wrong_amount", payment_id)

    intent = await charged(simulator, payment_id)

    [event] = await receiver.wait_for(1, payment_id)
    _, found = await simulator.call("GET", f"/v1/payments/{payment_id}")
    refund = {"payment_id": payment_id, "refund_id": new_id("rfd"), "amount": 2000}
    assert [each["amount"] for each in (intent, event, found)] == [2000] * 3
    assert (await simulator.post("/v1/refunds", refund))[0] == 200
    assert await lines(simulator, payment_id) == [("charge", 2000), ("refund", 2000)]


async def test_a_webhook_lies_about_the_amount_and_nobody_else_does(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    await ask_for(simulator, "webhook_lies", payment_id)

    intent = await charged(simulator, payment_id)

    [event] = await receiver.wait_for(1, payment_id)
    _, found = await simulator.call("GET", f"/v1/payments/{payment_id}")
    assert (event["amount"], intent["amount"], found["amount"]) == (2000, 1999, 1999)
    assert await lines(simulator, payment_id) == [("charge", 1999)]


async def test_a_charge_is_disputed_later(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    await ask_for(simulator, "dispute", payment_id, seconds=0.1)

    await charged(simulator, payment_id)

    _, event = await receiver.wait_for(2, payment_id)
    assert event["type"] == "charge.dispute.created"
    assert await lines(simulator, payment_id) == [("charge", 1999), ("dispute_opened", 1999)]
    assert (await simulator.call("GET", f"/v1/disputes/{event['dispute_id']}"))[1] == {
        "id": event["dispute_id"],
        "payment_id": payment_id,
        "amount": 1999,
        "currency": "USD",
        "reason": "fraudulent",
        "status": "needs_response",
    }


async def test_a_look_up_fails_as_a_charge_does(simulator: Simulator, payment_id: str) -> None:
    await charged(simulator, payment_id)

    async def look() -> Answer:
        return await simulator.call("GET", f"/v1/payments/{payment_id}")

    await ask_for(simulator, "error", payment_id, on="look_up")
    assert (await look())[0] == 500
    await ask_for(simulator, "drop", payment_id, on="look_up", count=2)  # aiohttp asks again
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await look()
    assert (await look())[0] == 200


def test_the_page_describes_every_kind_as_the_code_does() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]

    def at(kind: FaultKind) -> str:
        steps = steps_of(kind)
        return "any" if steps == REQUESTS else ", ".join(steps)

    table = [f"| `{kind}` | {at(kind)} | {EFFECTS[kind]} |" for kind in FaultKind]
    assert table == [row for row in rows if row in table or row.split("`")[1] in list(FaultKind)]


async def command(simulator: Simulator, *arguments: str) -> tuple[int, str, str]:
    """Run `cartwheel simulator`; return its status, its output and its errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cartwheel.cli", "simulator", *arguments),
        env={
            **os.environ,
            "CARTWHEEL_HOME": str(simulator.folder),
            "SIMULATOR_URL": simulator.url,
            "SIMULATOR_API_KEY": API_KEY,
            "COLUMNS": "200",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def test_the_command_lets_it_misbehave_lists_what_is_to_come_and_ends_it(
    simulator: Simulator, payment_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    everywhere = ("error", "refund_fails_late", "--rate", "0.1", "--seconds", "2")
    first = await command(simulator, "misbehave", *everywhere)
    just_once = ("drop", "--on", "cancel", "--payment", payment_id, "--count", "1")
    once = await command(simulator, "misbehave", *just_once)
    _, listed, _ = await command(simulator, "list", "--json")
    work.show(await work.pending(at(simulator.url)), typed.output())
    shown = capsys.readouterr().out
    ended = await command(simulator, "behave")

    assert first[0] == 0, first
    assert "error, at a share of 0.1 of charges, until `cartwheel simulator behave`" in first[1]
    assert f"drop, at every cancellation of {payment_id}, once" in once[1]
    usual: dict[str, object] = {"count": None, "payment_id": None, "rate": 1.0, "seconds": 10.0}
    assert msgspec.json.decode(listed) == [
        {**usual, "kind": "error", "on": "confirm", "rate": 0.1, "seconds": 2.0},
        {**usual, "kind": "refund_fails_late", "on": "refund", "rate": 0.1, "seconds": 2.0},
        {**usual, "kind": "drop", "on": "cancel", "payment_id": payment_id, "count": 1},
    ]
    assert shown.count("\n") == 4
    assert "the payment simulator behaves" in ended[1]
    assert await work.pending(at(simulator.url)) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("rudeness", "'rudeness' is not one of"),
        ("error --rate 0", "for --rate: 0 would be never"),
        ("error --rate 2", "'--rate'"),
        ("refund_fails --on confirm", "for --on: refund_fails goes with refund only"),
        ("", "KIND"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_simulator_is_asked(
    given: str, told: str
) -> None:
    ran = CliRunner().invoke(app, ["simulator", "misbehave", *given.split()])

    assert ran.exit_code == 2
    assert told in ran.output


async def test_what_the_simulator_refuses_is_told_in_a_sentence(
    simulator: Simulator, unused_tcp_port: int
) -> None:
    error = work.Wanted(
        kind=FaultKind.ERROR,
        on=Step.CONFIRM,
        rate=1,
        seconds=1,
        count=None,
        payment_id="with a space",
    )

    with pytest.raises(work.Refused, match="`payment_id` is not valid"):
        await work.misbehave(at(simulator.url), [error])
    with pytest.raises(NotRunning, match="the payment simulator does not answer"):
        await work.behave(at(f"http://127.0.0.1:{unused_tcp_port}"))


def at(url: str) -> work.Settings:
    return work.Settings(simulator_url=url, simulator_api_key=API_KEY)


async def test_a_decline_is_not_disputed(simulator: Simulator, payment_id: str) -> None:
    await ask_for(simulator, "dispute", payment_id, seconds=0)
    _, intent = await simulator.confirm(await simulator.intent(payment_id, "4000000000000002"))

    async def declined() -> None:
        assert await lines(simulator, payment_id) == [("decline", 1999)]

    await eventually(declined)
    assert intent["status"] == "failed"
