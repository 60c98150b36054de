"""`cartwheel simulator`: what goes wrong at the payment simulator, and when."""

from collections.abc import Iterator, Sequence

import aiohttp
import msgspec
from rich.console import Console

from cartwheel.kernel.settings import HttpUrl
from cartwheel.operations import tables, typed
from cartwheel.operations.reaching import NotRunning
from cartwheel.operations.tables import Column
from cartwheel.simulator.fault_kinds import EFFECTS, FaultKind, Step

_ANSWER_WITHIN_SECONDS = 10.0
_PATH = "/v1/faults"

_COLUMNS = (
    Column("fault"),
    Column("on"),
    Column("share"),
    Column("times left"),
    Column("seconds"),
    Column("payment"),
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    simulator_url: HttpUrl
    simulator_api_key: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, as the simulator takes and lists it. Without a `count`, it has no end."""

    kind: FaultKind
    on: Step
    rate: float
    seconds: float
    count: int | None
    payment_id: str | None


class Refused(Exception):
    """The simulator does not take the fault."""


class _Faults(msgspec.Struct):
    data: list[Wanted]


class _Error(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _Error


async def misbehave(settings: Settings, wanted: Sequence[Wanted]) -> None:
    """Add the faults.

    Raises:
        NotRunning: the simulator does not answer.
        Refused: it does not take one of them, as its message says.
    """
    for each in wanted:
        await _ask(settings, "POST", msgspec.json.encode(each))


async def behave(settings: Settings) -> None:
    """Remove all faults. Raises NotRunning."""
    await _ask(settings, "DELETE")


async def pending(settings: Settings) -> list[Wanted]:
    """Return the faults still to come, oldest first. Raises NotRunning."""
    return msgspec.json.decode(await _ask(settings, "GET"), type=_Faults).data


async def _ask(settings: Settings, method: str, body: bytes | None = None) -> bytes:
    headers = {"Authorization": f"Bearer {settings.simulator_api_key}"}
    timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(settings.simulator_url, headers=headers, timeout=timeout) as http,
            http.request(method, _PATH, data=body) as response,
        ):
            answer = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        told = str(error) or type(error).__name__
        raise NotRunning(f"the payment simulator does not answer: {told}") from None
    if not response.ok:
        raise Refused(f"the payment simulator refuses: {_message(answer, response.status)}")
    return answer


def _message(answer: bytes, status: int) -> str:
    try:
        return msgspec.json.decode(answer, type=_ErrorBody).error.message
    except msgspec.DecodeError:
        return f"status {status}"


def say_what_happens(wanted: Sequence[Wanted]) -> None:
    for each in wanted:
        typed.say_done(f"{each.kind}, {_how_often(each)}: {EFFECTS[each.kind]}")


_NAMES = {
    Step.CONFIRM: "charge",
    Step.REFUND: "refund",
    Step.CANCEL: "cancellation",
    Step.CAPTURE: "capture",
    Step.LOOK_UP: "look-up",
}


def _how_often(fault: Wanted) -> str:
    """Return, for example, `at a share of 0.1 of charges, until it behaves`."""
    share = "every" if fault.rate == 1 else f"a share of {fault.rate:g} of"
    times = "until `cartwheel simulator behave`"
    if fault.count is not None:
        times = "once" if fault.count == 1 else f"{fault.count:,} times"
    whose = f" of {fault.payment_id}" if fault.payment_id else ""
    step = _NAMES[fault.on] if fault.rate == 1 else f"{_NAMES[fault.on]}s"
    return f"at {share} {step}{whose}, {times}"


def show(faults: Sequence[Wanted], console: Console) -> None:
    if not faults:
        typed.say_done("the payment simulator behaves")
        return
    tables.show(_COLUMNS, list(_rows(faults)), console)


def _rows(faults: Sequence[Wanted]) -> Iterator[list[str]]:
    for fault in faults:
        yield [
            fault.kind,
            fault.on,
            f"{fault.rate:g}",
            "no end" if fault.count is None else str(fault.count),
            f"{fault.seconds:g}",
            fault.payment_id or "any",
        ]


def show_json(faults: Sequence[Wanted], console: Console) -> None:
    console.out(msgspec.json.encode(faults).decode(), highlight=False)
