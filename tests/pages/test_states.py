"""The state diagrams show what the rules allow, and every rule was tried."""

import inspect
import sys
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

from cartwheel.orders.domain import order as orders
from cartwheel.payments import domain as payments
from cartwheel.products.domain import stock

from .golden import DIAGRAMS, assert_is_current
from .states import MACHINES, ORDER, PAYMENT, RESERVATION, Machine, draw


@pytest.mark.parametrize("name", MACHINES)
def test_a_diagram_is_what_the_rules_allow(name: str) -> None:
    assert_is_current(DIAGRAMS / name, draw(MACHINES[name]))


@pytest.mark.parametrize(
    ("machine", "rules", "kind"),
    [
        (ORDER, orders, orders.Order),
        (PAYMENT, payments, payments.Payment),
        (RESERVATION, stock, stock.StoredReservation),
    ],
)
def test_every_rule_was_tried(machine: Machine[Any], rules: ModuleType, kind: type) -> None:
    called: set[CodeType] = set()

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        called.add(frame.f_code)

    sys.setprofile(note)
    try:
        machine.edges()
    finally:
        sys.setprofile(None)

    changes_one = {
        name: function.__code__
        for name, function in inspect.getmembers(rules, inspect.isfunction)
        if (declared := list(inspect.get_annotations(function).values()))
        and (declared[0], declared[-1]) == (kind, kind)
    }
    assert changes_one
    assert [name for name, code in changes_one.items() if code not in called] == []
