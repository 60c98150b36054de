"""The output of a run: every violation as it is found, then the totals."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from cartwheel.operations.verify.noticed import Noticed
from cartwheel.operations.verify.violation import Violation

PROMISES: Mapping[int, str] = {
    2: "never oversold",
    3: "an order is PAID if and only if some of its one capture is kept; the rest is refunded",
    4: "an order keeps at most one capture",
    5: "every event is published and applied once in effect",
    6: "no event disappears",
    7: "one mail per event that calls for one",
    11: "no customer has more unpaid orders than one may have",
    13: "no more is shipped than was ordered, and no more comes back than was delivered",
}


class Summary(msgspec.Struct, kw_only=True):
    """The totals. The names are those of the `--json` output. None of these is a violation.

    looked_at              documents that were read, by kind
    in_flight              mismatches that may still resolve by themselves
    waiting                events that wait for their service or for a retry
    parked                 dead-lettered events, by service: see `cartwheel dlq`
    waiting_for_parked     orders with a mismatch because an event of theirs was dead-lettered
    refunds_pending        payments with a refund that the provider has not confirmed yet
    noticed                other findings: how many, and the first ones
    """

    looked_at: dict[str, int]
    in_flight: int
    waiting: int
    parked: dict[str, int]
    waiting_for_parked: int
    refunds_pending: int
    noticed: Noticed
    seconds: float


class Report:
    """Prints each violation as it is found, and keeps only their numbers."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.by_promise: Counter[int] = Counter()

    def tell(self, violation: Violation) -> None:
        self.by_promise[violation.promise] += 1
        told = Text.assemble(("✗ ", "red"), (f"promise {violation.promise}: ", "bold"))
        told.append(f"{violation.sentence}  ")
        told.append(f"[{', '.join(violation.ids)}]", style="dim")
        self._console.print(told, soft_wrap=True)

    def end(self, summary: Summary) -> None:
        say = self._console.out
        looked_at = ", ".join(f"{count:,} {name}" for name, count in summary.looked_at.items())
        say(f"looked at {looked_at or 'nothing'} in {summary.seconds:.1f} s", highlight=False)
        services = ", ".join(f"{name} {count}" for name, count in summary.parked.items() if count)
        for name, count, note in (
            ("in flight", summary.in_flight, "may still resolve by itself"),
            ("events in queues", summary.waiting, "also in flight"),
            ("dead-lettered", sum(summary.parked.values()), f"{services}; see `cartwheel dlq`"),
            ("waiting for a dead-lettered event", summary.waiting_for_parked, "orders"),
            ("refunds pending", summary.refunds_pending, "payments"),
            *(
                (name.replace("_", " "), some.count, ", ".join(some.first))
                for name, some in msgspec.structs.asdict(summary.noticed).items()
            ),
        ):
            if count:
                say(f"{name}: {count:,} ({note})", highlight=False)
        for promise, sentence in PROMISES.items():
            count = self.by_promise[promise]
            mark, style = ("✗", "red") if count else ("✓", "green")
            told = Text.assemble((mark, style), f" {promise}. {sentence}")
            self._console.print(told.append(f": {count:,} violations" if count else ""))


class JsonReport(Report):
    """Prints one JSON object: {"violations": [{promise, sentence, ids}], …, "holds": …}."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._before = '{"violations": ['

    def tell(self, violation: Violation) -> None:
        self.by_promise[violation.promise] += 1
        told = {"promise": violation.promise, "sentence": violation.sentence, "ids": violation.ids}
        self._say(self._before + _json(told))
        self._before = ","

    def end(self, summary: Summary) -> None:
        opening = self._before if self._before != "," else ""
        sums = {**msgspec.to_builtins(summary), "holds": not self.by_promise}
        self._say(f"{opening}], {_json(sums)[1:]}")

    def _say(self, text: str) -> None:
        self._console.out(text, highlight=False)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
