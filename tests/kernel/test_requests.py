"""Requests over the real RabbitMQ: typed answers, together, in time, and never twice."""

import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractChannel

from cartwheel.kernel._amqp.interface import Delivery
from cartwheel.kernel._bus import outgoing, rpc_client, topology, wire
from cartwheel.kernel._bus.rpc_client import RemoteFailure, RpcClient
from cartwheel.kernel._bus.rpc_server import RpcServer, answer, answer_batch, answer_together
from cartwheel.kernel._core.time_left import time_left
from cartwheel.kernel.errors import (
    FieldError,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    Refusal,
    TimedOut,
    Unavailable,
)

from ..garbage import fewer_cycles_than
from ..proxy import proxy_to
from ..waiting import eventually
from .conftest import Connect
from .messages import SERVICE, Echo, Full, Outside, Write


async def echo(request: Echo) -> str:
    return request.text


async def write(request: Write) -> int:
    return request.number


async def test_a_request_gets_its_answer_as_the_type_it_names(connect: Connect) -> None:
    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Echo, echo)]))

    assert await caller.request(Echo(text="hällo")) == "hällo"


async def test_a_refusal_arrives_as_the_class_that_was_raised(connect: Connect) -> None:
    async def refuse(request: Write) -> int:
        raise Full("no room", errors=[FieldError("number", "too big")], members={"most": 7})

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Write, refuse)]))

    with pytest.raises(Full, match="no room") as refused:
        await caller.request(Write(number=1))
    assert refused.value.errors == (FieldError("number", "too big"),)
    assert refused.value.members == {"most": 7}


async def test_refusals_leave_nothing_that_only_the_garbage_collector_finds(
    connect: Connect,
) -> None:
    """In a flash sale nearly every request is refused, and a collection stops everybody."""

    async def refuse_all(requests: list[Write]) -> Sequence[Refusal]:
        return [Full("no room") for _ in requests]

    async def ask() -> None:
        with suppress(Full):
            await caller.request(Write(number=1))

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer_batch(Write, refuse_all)]))
    await ask()
    refusals = 50
    with fewer_cycles_than(refusals):
        for _ in range(refusals):
            await ask()


async def test_a_refusal_that_the_caller_does_not_know_arrives_as_its_kind(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(request: Write) -> int:
        raise Full("no room")

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Write, refuse)]))
    monkeypatch.delitem(Refusal.by_code, Full.code)

    with pytest.raises(Refusal) as refused:
        await caller.request(Write(number=1))
    assert type(refused.value).__name__ == "Conflict"
    assert refused.value.code == "test_full"


async def test_a_bug_in_a_handler_is_a_failure_and_the_next_request_is_answered(
    connect: Connect,
) -> None:
    async def buggy(request: Write) -> int:
        return 1 // request.number

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Write, buggy)]))

    with pytest.raises(RemoteFailure):
        await caller.request(Write(number=0))
    assert await caller.request(Write(number=1)) == 1


class Counting(RpcServer):
    """Counts the messages of requests that come."""

    came = 0

    def _on_delivery(self, message: Delivery) -> None:
        self.came += message.type != wire.PING
        super()._on_delivery(message)


async def test_requests_that_wait_travel_and_are_handled_together(connect: Connect) -> None:
    batches: list[int] = []

    async def together(requests: list[Write]) -> Sequence[int]:
        batches.append(len(requests))
        await asyncio.sleep(0.01)
        return [request.number * 2 for request in requests]

    caller = RpcClient()
    server = Counting(SERVICE, [answer_batch(Write, together)])
    await connect(caller, server)

    answers = await asyncio.gather(*(caller.request(Write(number=n)) for n in range(300)))

    assert answers == [n * 2 for n in range(300)]
    assert server.came < 20
    assert len(batches) < 20
    assert max(batches) <= 64


async def test_requests_of_two_kinds_are_handled_in_one_batch(connect: Connect) -> None:
    batches: list[set[str]] = []

    async def together(requests: Sequence[Write | Echo]) -> Sequence[int | str]:
        batches.append({request.type for request in requests})
        await asyncio.sleep(0.01)
        return [each.number if isinstance(each, Write) else each.text for each in requests]

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, answer_together((Write, Echo), together)))

    answers = await asyncio.gather(
        *(caller.request(Write(number=n)) for n in range(50)),
        *(caller.request(Echo(text=str(n))) for n in range(50)),
    )

    assert answers == [*range(50), *map(str, range(50))]
    assert {Write.type, Echo.type} in batches


async def test_a_slow_answer_does_not_delay_others_from_the_same_message(
    connect: Connect,
) -> None:
    release = asyncio.Event()

    async def sometimes_slow(request: Echo) -> str:
        if request.text == "slow":
            await release.wait()
        return request.text

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Echo, sometimes_slow)]))
    slow = asyncio.create_task(caller.request(Echo(text="slow")))
    quick = [asyncio.create_task(caller.request(Echo(text=str(n)))) for n in range(5)]

    await asyncio.gather(*quick)
    assert not slow.done()
    release.set()
    assert await slow == "slow"


async def test_identical_waiting_reads_are_sent_once_but_writes_each(
    connect: Connect,
) -> None:
    asked: list[str | int] = []
    release = asyncio.Event()

    async def read(request: Echo) -> str:
        asked.append(request.text)
        await release.wait()
        return request.text

    async def write(request: Write) -> int:
        asked.append(request.number)
        await release.wait()
        return len(asked)

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Echo, read), answer(Write, write)]))
    numbers = range(outgoing.ON_THE_WIRE)
    first_reads = [asyncio.create_task(caller.request(Echo(text=str(n)))) for n in numbers]
    first_writes = [asyncio.create_task(caller.request(Write(number=n))) for n in numbers]
    await asyncio.sleep(0)
    reads = [asyncio.create_task(caller.request(Echo(text="same"))) for _ in range(20)]
    writes = [asyncio.create_task(caller.request(Write(number=7))) for _ in range(3)]
    await asyncio.sleep(0)

    reads[0].cancel()  # the others go on waiting for what the first one has asked
    release.set()

    assert await asyncio.gather(*reads[1:]) == ["same"] * 19
    await asyncio.gather(*first_reads, *first_writes, *writes)
    assert asked.count("same") == 1
    assert asked.count(7) == 3


async def test_a_bad_request_does_not_harm_its_batch(connect: Connect) -> None:
    async def divide(requests: list[Write]) -> Sequence[int | Refusal]:
        return [
            NotFound("no zero") if request.number == 5 else 60 // request.number
            for request in requests
        ]

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer_batch(Write, divide)]))

    answers = await asyncio.gather(
        *(caller.request(Write(number=n)) for n in range(6)), return_exceptions=True
    )

    assert isinstance(answers[0], RemoteFailure)
    assert answers[1:5] == [60, 30, 20, 15]
    assert isinstance(answers[5], NotFound)


async def test_requests_that_go_outside_do_not_wait_for_each_other(connect: Connect) -> None:
    together = asyncio.Barrier(20)

    async def outside(request: Outside) -> int:
        async with together:
            return request.number

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Outside, outside)]))

    answers = await asyncio.gather(
        *(caller.request(Outside(number=n), timeout=5) for n in range(20))
    )

    assert answers == list(range(20))


async def test_without_a_service_a_write_fails_at_once_and_is_never_run(connect: Connect) -> None:
    ran: list[int] = []

    async def write(request: Write) -> int:
        ran.append(request.number)
        return request.number

    caller = RpcClient()
    await connect(caller)
    began = time.monotonic()

    with pytest.raises(Unavailable):
        await caller.request(Write(number=1))

    assert time.monotonic() - began < topology.REQUEST_DEADLINE_SECONDS / 2
    await connect(RpcServer(SERVICE, [answer(Write, write)]))
    assert await caller.request(Write(number=2)) == 2
    assert ran == [2]


async def test_a_read_waits_a_while_for_a_service_to_start(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_client, "SOMEBODY_WITHIN_SECONDS", 8.0)  # the machine may be busy
    caller = RpcClient()
    await connect(caller)
    reading = asyncio.create_task(caller.request(Echo(text="anybody?")))
    await asyncio.sleep(0.3)

    await connect(RpcServer(SERVICE, [answer(Echo, echo)]))

    assert await reading == "anybody?"


async def test_once_a_service_has_been_gone_for_a_while_its_reads_fail_at_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_client, "SOMEBODY_WITHIN_SECONDS", 0.5)
    caller = RpcClient()
    await connect(caller)
    with pytest.raises(Unavailable):
        await caller.request(Echo(text="anybody?"))
    monkeypatch.setattr(rpc_client, "LOOK_AGAIN_SECONDS", 60.0)

    async with asyncio.timeout(10):
        with pytest.raises(Unavailable):
            await caller.request(Echo(text="still nobody?"), timeout=60)


async def test_a_handlers_own_requests_share_its_deadline(connect: Connect) -> None:
    inner = RpcClient()
    left: list[float] = []

    async def ask_on(request: Write) -> int:
        return await inner.request(Outside(number=request.number))  # nobody answers that

    async def never(request: Outside) -> int:
        left.append(time_left(at_most=topology.REQUEST_DEADLINE_SECONDS))
        await asyncio.sleep(60)
        return 0

    caller = RpcClient()
    await connect(
        caller, inner, RpcServer(SERVICE, [answer(Write, ask_on), answer(Outside, never)])
    )
    began = time.monotonic()

    with pytest.raises(TimedOut):
        await caller.request(Write(number=1), timeout=2)
    assert time.monotonic() - began < topology.REQUEST_DEADLINE_SECONDS / 2
    assert [each < 2 for each in left] == [True]


async def test_more_requests_than_may_wait_are_refused_at_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "MOST_WAITING", 10)

    async def never(_: Write) -> int:
        await asyncio.sleep(60)
        return 0

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Write, never)]))

    results = await asyncio.gather(
        *(caller.request(Write(number=n), timeout=0.3) for n in range(20)), return_exceptions=True
    )

    assert sum(isinstance(result, Overloaded) for result in results) >= 8
    assert sum(isinstance(result, TimedOut) for result in results) >= 10


async def test_without_rabbitmq_a_request_fails_at_once() -> None:
    with pytest.raises(Unavailable):
        await RpcClient().request(Write(number=1))


async def test_a_write_cut_off_from_its_answer_has_an_unknown_outcome_and_runs_once(
    connect: Connect, rabbitmq_url: str
) -> None:
    ran = 0
    begun = asyncio.Event()

    async def slow_write(request: Write) -> int:
        nonlocal ran
        ran += 1
        begun.set()
        await asyncio.sleep(0.5)
        return request.number

    async with proxy_to(rabbitmq_url) as (proxy, url):
        caller = RpcClient()
        await connect(RpcServer(SERVICE, [answer(Write, slow_write)]), url=url)
        await connect(caller, url=url)
        writing = asyncio.create_task(caller.request(Write(number=1)))
        await begun.wait()
        await asyncio.sleep(0.1)  # what is cut off with its acknowledgement would come again

        proxy.cut()

        with pytest.raises(OutcomeUnknown):
            await writing
        assert await eventually(lambda: _answered(caller)) == 2
        assert ran == 2  # the first one once, and the one just asked


async def _answered(caller: RpcClient) -> int:
    try:
        return await caller.request(Write(number=2), timeout=5)
    except Unavailable as away:
        raise AssertionError from away


async def test_a_read_cut_off_from_its_answer_is_asked_again(
    connect: Connect, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        rpc_client, "SOMEBODY_WITHIN_SECONDS", 8.0
    )  # a busy machine takes more than 1.5 s
    times = 0
    begun = asyncio.Event()

    async def slow_echo(request: Echo) -> str:
        nonlocal times
        times += 1
        begun.set()
        await asyncio.sleep(0.2)
        return request.text

    await connect(RpcServer(SERVICE, [answer(Echo, slow_echo)]))
    async with proxy_to(rabbitmq_url) as (proxy, url):
        caller = RpcClient()
        await connect(caller, url=url)
        reading = asyncio.create_task(caller.request(Echo(text="still there?")))
        await begun.wait()

        proxy.cut()

        assert await reading == "still there?"
        assert times == 2


async def test_a_read_fails_soon_when_its_connection_does_not_come_back(
    connect: Connect, rabbitmq_url: str
) -> None:
    begun = asyncio.Event()

    async def never(_: Echo) -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    await connect(RpcServer(SERVICE, [answer(Echo, never)]))
    async with proxy_to(rabbitmq_url) as (proxy, url):
        caller = RpcClient()
        await connect(caller, url=url)
        reading = asyncio.create_task(caller.request(Echo(text="still there?")))
        await begun.wait()

        proxy.refuse()

        async with asyncio.timeout(topology.REQUEST_DEADLINE_SECONDS / 2):
            with pytest.raises(Unavailable):
                await reading
        proxy.refuse(False)


async def test_with_a_frozen_broker_requests_still_end_at_their_deadline(
    connect: Connect, rabbitmq_url: str
) -> None:
    async with proxy_to(rabbitmq_url) as (proxy, url):
        caller = RpcClient()
        await connect(caller, url=url)
        await connect(RpcServer(SERVICE, [answer(Write, write)]))
        assert await caller.request(Write(number=0)) == 0
        proxy.freeze()
        began = time.monotonic()

        results = await asyncio.gather(
            *(caller.request(Write(number=n), timeout=0.5) for n in range(50)),
            return_exceptions=True,
        )

        assert all(isinstance(result, TimedOut) for result in results)
        assert time.monotonic() - began < topology.REQUEST_DEADLINE_SECONDS / 2


async def test_a_stopping_replica_finishes_its_requests_and_another_does_the_rest(
    connect: Connect,
) -> None:
    begun = asyncio.Event()

    async def slow(request: Outside) -> int:
        begun.set()
        await asyncio.sleep(0.5)
        return request.number

    async def quick(request: Outside) -> int:
        return request.number

    caller, stopping = RpcClient(), RpcServer(SERVICE, [answer(Outside, slow)])
    await connect(caller)
    await connect(stopping)
    # Each is a message of its own: 64 are worked on, 64 are taken, the rest lies in the queue.
    first = [asyncio.create_task(caller.request(Outside(number=n))) for n in range(200)]
    await begun.wait()
    await connect(RpcServer(SERVICE, [answer(Outside, quick)]))

    draining = asyncio.create_task(stopping.drain())
    await asyncio.sleep(0.1)
    second = [asyncio.create_task(caller.request(Outside(number=n))) for n in range(100)]
    await draining
    assert await asyncio.gather(*first) == list(range(200))
    assert await asyncio.gather(*second) == list(range(100))


async def test_replicas_share_the_work_and_a_slow_one_gets_less(connect: Connect) -> None:
    taken = {"quick": 0, "slow": 0}

    def replica(name: str, seconds: float) -> RpcServer:
        async def work(request: Outside) -> int:
            taken[name] += 1
            await asyncio.sleep(seconds)
            return request.number

        return RpcServer(SERVICE, [answer(Outside, work)])

    async def customer() -> None:
        for number in range(20):
            assert await caller.request(Outside(number=number)) == number

    caller = RpcClient()
    await connect(replica("quick", 0.002))
    await connect(replica("slow", 0.1))
    await connect(caller)
    caller.watch([SERVICE])
    await asyncio.sleep(0.5)

    await asyncio.gather(*(customer() for _ in range(10)))

    assert taken["slow"] > 0
    assert taken["quick"] > 2 * taken["slow"]


async def test_a_caller_learns_soon_that_the_only_replica_has_died_with_its_request(
    connect: Connect, rabbitmq_url: str
) -> None:
    async def never(_: Write) -> int:
        begun.set()
        await asyncio.sleep(60)
        return 0

    begun = asyncio.Event()
    caller = RpcClient()
    await connect(caller)
    async with proxy_to(rabbitmq_url) as (proxy, url):
        await connect(RpcServer(SERVICE, [answer(Write, never)]), url=url)
        writing = asyncio.create_task(caller.request(Write(number=1), timeout=60))
        await begun.wait()

        proxy.refuse()  # as if it had been killed

        async with asyncio.timeout(topology.REQUEST_DEADLINE_SECONDS / 2):
            with pytest.raises(OutcomeUnknown):
                await writing
        proxy.refuse(False)


async def test_a_dead_replicas_writes_fail_soon_and_its_reads_are_sent_elsewhere(
    connect: Connect, rabbitmq_url: str
) -> None:
    async def never(_: object) -> object:
        begun.append(1)
        await asyncio.sleep(60)
        return 0

    async def both_begun() -> None:
        assert len(begun) == 2

    begun: list[int] = []
    caller = RpcClient()
    await connect(caller)
    async with proxy_to(rabbitmq_url) as (proxy, url):
        dying = RpcServer(SERVICE, [answer(Echo, never), answer(Write, never)])
        await connect(dying, url=url)
        reading = asyncio.create_task(caller.request(Echo(text="read"), timeout=60))
        writing = asyncio.create_task(caller.request(Write(number=1), timeout=60))
        await eventually(both_begun)
        await connect(RpcServer(SERVICE, [answer(Echo, echo), answer(Write, write)]))

        proxy.refuse()  # as if it had been killed

        async with asyncio.timeout(topology.REQUEST_DEADLINE_SECONDS / 2):
            with pytest.raises(OutcomeUnknown):
                await writing
            assert await reading == "read"
            assert await caller.request(Write(number=2)) == 2
        proxy.refuse(False)


async def test_a_frozen_replica_gets_no_more_requests_and_its_reads_are_sent_elsewhere(
    connect: Connect, rabbitmq_url: str
) -> None:
    async def known(count: int) -> None:
        async def look() -> None:
            assert len(caller._services[SERVICE].known) == count  # pyright: ignore[reportPrivateUsage]

        await eventually(look)

    taken: list[int] = []

    async def count(request: Outside) -> int:
        taken.append(request.number)
        return request.number

    async def number(request: Outside) -> int:
        return request.number

    caller = RpcClient()
    await connect(caller)
    caller.watch([SERVICE])
    async with proxy_to(rabbitmq_url) as (proxy, url):
        await connect(RpcServer(SERVICE, [answer(Echo, echo), answer(Outside, number)]), url=url)
        await connect(RpcServer(SERVICE, [answer(Echo, echo), answer(Outside, count)]))
        await known(2)

        proxy.freeze()

        async with asyncio.timeout(topology.REQUEST_DEADLINE_SECONDS / 2):
            written = await asyncio.gather(  # one by each
                *(caller.request(Outside(number=7), timeout=60) for _ in range(2)),
                return_exceptions=True,
            )
            assert sorted(type(each).__name__ for each in written) == ["OutcomeUnknown", "int"]
            texts = [str(n) for n in range(10)]
            asked = [caller.request(Echo(text=text), timeout=60) for text in texts]
            assert await asyncio.gather(*asked) == texts
        taken.clear()
        began = time.monotonic()
        for each in range(50):
            assert await caller.request(Outside(number=each), timeout=60) == each
        assert len(taken) == 50
        assert time.monotonic() - began < topology.REQUEST_DEADLINE_SECONDS / 2
        proxy.thaw()


async def test_a_caller_tells_when_each_service_has_answered_last(connect: Connect) -> None:
    caller = RpcClient()
    await connect(caller)
    caller.watch([SERVICE, "nobody"])
    await connect(RpcServer(SERVICE, []))

    async def heard() -> None:
        assert (caller.answered_ago()[SERVICE] or 60.0) < 3

    await eventually(heard)
    assert caller.answered_ago()["nobody"] is None


async def test_requests_lost_with_a_process_do_not_delay_later_ones(
    connect: Connect,
) -> None:
    taken = 0

    async def never(request: Write) -> int:
        nonlocal taken
        taken += 1
        await asyncio.sleep(60)
        return 0

    async def all_taken() -> None:
        assert taken == len(lost)

    async def quick(request: Write) -> int:
        return request.number

    caller = RpcClient()
    await connect(caller)
    dying = await connect(RpcServer(SERVICE, [answer(Write, never)]))
    lost: list[asyncio.Task[int]] = []
    for _ in range(outgoing.ON_THE_WIRE):  # a message each, which is all that one type may have out
        lost.append(asyncio.create_task(caller.request(Write(number=0), timeout=60)))
        await eventually(all_taken)
    await dying.stop()  # with what it had taken
    await connect(RpcServer(SERVICE, [answer(Write, quick)]))

    assert await caller.request(Write(number=7), timeout=9) == 7

    for request in lost:
        with pytest.raises(OutcomeUnknown):
            await request


async def test_slow_answers_delay_others_of_their_type_by_at_most_a_second(
    connect: Connect,
) -> None:
    taken: list[int] = []
    release = asyncio.Event()

    async def sometimes_slow(request: Write) -> int:
        taken.append(request.number)
        if request.number == 0:
            await release.wait()
        return request.number

    async def taken_so_far() -> None:
        assert len(taken) == len(slow)

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Write, sometimes_slow)]))
    slow: list[asyncio.Task[int]] = []
    for _ in range(outgoing.ON_THE_WIRE):  # a message each
        slow.append(asyncio.create_task(caller.request(Write(number=0), timeout=30)))
        await eventually(taken_so_far)

    assert await caller.request(Write(number=7), timeout=8) == 7
    release.set()
    assert await asyncio.gather(*slow) == [0] * len(slow)


async def test_a_stuck_batch_delays_the_next_by_at_most_a_second(
    connect: Connect,
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def sometimes_slow(requests: list[Write]) -> Sequence[int]:
        if any(request.number == 0 for request in requests):
            begun.set()
            await release.wait()
        return [request.number for request in requests]

    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer_batch(Write, sometimes_slow)]))
    slow = asyncio.create_task(caller.request(Write(number=0), timeout=30))
    await begun.wait()

    assert await caller.request(Write(number=7), timeout=5) == 7
    release.set()
    assert await slow == 0


@pytest.mark.parametrize(
    "body", [b"no json", b"[" * 100_000, b'[[1,9e9,{"text":"a","x":' + b"[" * 100_000 + b"]"]
)
async def test_a_request_that_cannot_be_read_is_dropped_and_the_next_is_answered(
    connect: Connect, channel: AbstractChannel, body: bytes
) -> None:
    crashed: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: crashed.append(context))
    caller = RpcClient()
    await connect(caller, RpcServer(SERVICE, [answer(Echo, echo)]))
    exchange = await channel.get_exchange(topology.REQUESTS)
    await exchange.publish(Message(body, type=Echo.type), topology.everybody(SERVICE))

    assert await caller.request(Echo(text="still here")) == "still here"
    gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert crashed == []
