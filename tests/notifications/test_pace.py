"""Mail is sent no faster than SES permits: the account's MaxSendRate, or a setting."""

import asyncio

import pytest

from cartwheel.kernel.errors import Unavailable
from cartwheel.notifications.ses import WAIT_AT_MOST_SECONDS, Ses, open_ses

from ..scripted_ses import Answer, ScriptedSes
from .conftest import SENDER, Notifications
from .examples import happened, paid, snapshot

RATE = 10.0


async def tell(notifications: Notifications, count: int) -> None:
    """Have this many events told at the same time."""
    events = [happened(paid(snapshot())) for _ in range(count)]
    await asyncio.gather(*(notifications.tell(event) for event in events))


def spread(script: ScriptedSes) -> float:
    """Return the seconds from the first mail that was sent to the last."""
    return max(script.taken_at) - min(script.taken_at)


async def test_mail_is_sent_no_faster_than_the_account_permits(
    scripted: Notifications, script: ScriptedSes
) -> None:
    script.rate = RATE

    await tell(scripted, 11)

    # Eleven turns are ten intervals; a claim may hold up the first mail.
    assert spread(script) > 0.7 * 10 / RATE
    assert script.probes == 1


async def test_a_setting_takes_the_place_of_the_accounts_rate(
    notifications: Notifications, script: ScriptedSes
) -> None:
    async with open_ses(sender=SENDER, rate=RATE) as ses:
        await tell(notifications._replace(sender=ses), 11)

    assert spread(script) > 0.7 * 10 / RATE
    assert script.probes == 0


async def test_without_a_rate_no_mail_waits(scripted: Notifications, script: ScriptedSes) -> None:
    script.probe = Answer(403, "AccessDeniedException")

    async with asyncio.timeout(WAIT_AT_MOST_SECONDS):
        await tell(scripted, 40)

    assert len(script.taken) == 40
    assert script.probes == 1


async def test_mail_that_would_wait_too_long_goes_back_unclaimed(
    scripted: Notifications, script: ScriptedSes
) -> None:
    """The consumer then pauses. Claims expire, so nothing that waits for long may have one."""
    script.rate = 0.1
    first, second = (happened(paid(snapshot())) for _ in range(2))

    await scripted.tell(first)
    with pytest.raises(Unavailable, match=r"SES takes 0\.1 mails a second"):
        await scripted.tell(second)

    assert script.taken == [first.data.order.user.email]
    assert await scripted.database["mail"].count_documents({}) == 1


async def test_what_the_account_permits_is_learned_anew_with_each_probe(
    script: ScriptedSes, scripted_sender: Ses
) -> None:
    script.rate = 0.1
    await scripted_sender.turn()
    script.rate = None

    await scripted_sender.probe()

    async with asyncio.timeout(WAIT_AT_MOST_SECONDS):
        await scripted_sender.turn()
