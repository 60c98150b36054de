"""What a process has to publish: of which documents, and which events it still knows."""

import asyncio

import pytest

from cartwheel.kernel._store import outbox
from cartwheel.kernel._store.client import Document
from cartwheel.kernel._store.outbox import Outboxes

A = ("things", "a")
B = ("things", "b")
FIRST: list[Document] = [{"id": "evt_1"}]
SECOND: list[Document] = [{"id": "evt_2"}]


async def test_the_events_of_one_write_are_known_and_those_of_two_are_read() -> None:
    outboxes = Outboxes()
    outboxes.stored(*A, FIRST)
    outboxes.stored(*B, FIRST)
    outboxes.stored(*B, SECOND)

    assert outboxes.take() == {A: FIRST, B: ()}


async def test_an_outbox_that_may_hold_more_events_is_read() -> None:
    outboxes = Outboxes()
    outboxes.stored(*A, FIRST)
    outboxes.filled("things", "ab")
    outboxes.stored(*B, FIRST)

    assert outboxes.take() == {A: (), B: ()}


async def test_a_document_is_published_by_one_task_at_a_time() -> None:
    outboxes = Outboxes()
    outboxes.stored(*A, FIRST)
    assert outboxes.take() == {A: FIRST}

    outboxes.stored(*A, SECOND)
    assert outboxes.take() == {}
    outboxes.done(A)
    async with asyncio.timeout(5):
        await outboxes.some()

    assert outboxes.take() == {A: SECOND}


async def test_only_so_many_documents_are_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "IN_HAND", 3)
    outboxes = Outboxes()
    outboxes.filled("things", "abcde")

    assert list(outboxes.take()) == [("things", each) for each in "abc"]
    assert outboxes.take() == {}
    outboxes.done(A)
    outboxes.done(B)
    async with asyncio.timeout(5):
        await outboxes.some()
    assert list(outboxes.take()) == [("things", each) for each in "de"]


async def test_beyond_the_limit_only_ids_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "KEPT", 2)
    outboxes = Outboxes()
    for each in "abcd":
        outboxes.stored("things", each, FIRST)

    assert list(outboxes.take().values()) == [FIRST, FIRST, (), ()]


async def test_the_outboxes_are_empty_once_all_is_published() -> None:
    outboxes = Outboxes()
    assert not outboxes
    outboxes.filled("things", "ab")
    ended = asyncio.create_task(outboxes.none())
    for filled in outboxes.take():
        assert outboxes
        await asyncio.sleep(0)
        assert not ended.done()
        outboxes.done(filled)

    async with asyncio.timeout(5):
        await ended
    assert not outboxes
