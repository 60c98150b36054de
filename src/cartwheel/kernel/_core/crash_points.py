"""Named points where the crash suite kills the process. In production they do nothing.

`CRASH_AT=ack.before:3` kills this process (SIGKILL, like a power cut) the third time it reaches
`ack.before`. There is a point before and after every step that must not be half done. They are all
in the kernel: handlers know nothing about them.

    commit.before, commit.after      a write to MongoDB
    publish.before, publish.after    an event to RabbitMQ, and its confirm
    ack.before, ack.after            an acknowledgement of a delivery
    send.before, send.after          a request to another service
    reply.before, reply.after        the answers to a request
"""

import asyncio
import os
import signal
from collections.abc import Callable

POINTS = tuple(
    f"{step}.{side}"
    for step in ("commit", "publish", "ack", "send", "reply")
    for side in ("before", "after")
)


def _prepare(setting: str) -> Callable[[str], None]:
    name, _, count = setting.partition(":")
    left = int(count or 1)

    def reach(point: str) -> None:
        nonlocal left
        if point == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach


def _pass(point: str) -> None:
    """Do nothing: this process is not under test."""


def reach_in_a_turn(point: str) -> None:
    """Report a point once the event loop has written its pending output."""
    if armed():
        asyncio.get_running_loop().call_soon(reach, point)


def armed() -> bool:
    return reach is not _pass


_setting = os.environ.get("CRASH_AT")
reach: Callable[[str], None] = _prepare(_setting) if _setting else _pass
"""Report that a point is reached."""
