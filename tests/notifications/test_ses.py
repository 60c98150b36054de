"""Does an error concern one mail or all? The answers are AWS's, so they are scripted."""

import asyncio
from typing import Any

import msgspec
import pytest
from botocore.parsers import (
    create_parser,  # pyright: ignore[reportUnknownVariableType] because botocore has no types
)
from multidict import CIMultiDict

from cartwheel.kernel.errors import Unavailable
from cartwheel.kernel.http_client import Answer as HttpAnswer
from cartwheel.notifications.domain import Mail
from cartwheel.notifications.ports import MailFailed, MailRefused
from cartwheel.notifications.ses import (
    OUTAGE_STATUSES,
    OUTAGES,
    REFUSALS,
    Ses,
    open_ses,
    read_error,
)

from ..scripted_ses import FAILS, HANGS, Answer, ScriptedSes
from ..waiting import eventually
from .conftest import SENDER

TO = "zoe@example.org"
BREAKS_OFF = Answer(breaks_off=True, body=b"")
PAGE = b"<html><body>Welcome to our wireless network!</body></html>"
UNVERIFIED = (
    "Email address is not verified. The following identities failed the check in region "
    "US-EAST-1: {}"
)


def mail(to: str = TO) -> Mail:
    return Mail(to=to, subject="Order", text="Hello", html="<p>Hello</p>")


@pytest.mark.parametrize("code", sorted(OUTAGES))
async def test_an_error_of_the_account_or_the_clock_is_an_outage(
    scripted_sender: Ses, script: ScriptedSes, code: str
) -> None:
    for spelling in (code, f"{code}Exception"):
        script.script[TO] = Answer(400, spelling, "Signature expired: 20260301T120000Z")

        with pytest.raises(Unavailable, match=spelling):
            await scripted_sender.send(mail())


@pytest.mark.parametrize("status", sorted(OUTAGE_STATUSES))
async def test_an_account_that_may_not_send_is_an_outage(
    scripted_sender: Ses, script: ScriptedSes, status: int
) -> None:
    script.script[TO] = Answer(status, "SomethingNewException")

    with pytest.raises(Unavailable, match="SomethingNew"):
        await scripted_sender.send(mail())


@pytest.mark.parametrize("suffix", ["", "Exception"])
@pytest.mark.parametrize("code", sorted(REFUSALS))
async def test_only_these_errors_refuse_a_single_mail(
    scripted_sender: Ses, script: ScriptedSes, code: str, suffix: str
) -> None:
    script.script[TO] = Answer(400, code + suffix, "Local address contains control characters")

    with pytest.raises(MailRefused, match=code):
        await scripted_sender.send(mail())


@pytest.mark.parametrize(
    "named",
    [
        "shop@example.com",
        "Shop@Example.COM.",
        f"{TO}, shop@example.com",
        "<shop@example.com>",
        "arn:aws:ses:us-east-1:123456789012:identity/example.com",
    ],
)
@pytest.mark.parametrize("code", sorted(REFUSALS))
async def test_a_sender_that_is_not_verified_is_an_outage(
    scripted_sender: Ses, script: ScriptedSes, code: str, named: str
) -> None:
    script.script[TO] = Answer(400, code, UNVERIFIED.format(named))

    with pytest.raises(Unavailable, match="sender"):
        await scripted_sender.send(mail())


@pytest.mark.parametrize(
    "to",
    [
        "zoe@example.org",
        "zoe@example.com",
        "anothershop@example.com",
        "shop@example.com.example.org",
        '"a shop@example.com"@example.org',
        "shop@example.com",
    ],
)
async def test_an_unverified_recipient_is_refused_even_if_it_resembles_the_sender(
    scripted_sender: Ses, script: ScriptedSes, to: str
) -> None:
    """This happens in SES's sandbox. A customer's choice of address must not stop all mail."""
    script.script[to] = Answer(400, "MessageRejected", UNVERIFIED.format(to))

    with pytest.raises(MailRefused):
        await scripted_sender.send(mail(to))


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (FAILS, "InternalFailure"),
        (Answer(503, "ServiceUnavailable"), "ServiceUnavailable"),
        (Answer(500), "500"),
        (Answer(400, "SomethingNewException"), "SomethingNewException"),
        (Answer(413, "RequestEntityTooLarge"), "RequestEntityTooLarge"),
        (HANGS, "too slow"),
        (BREAKS_OFF, "broke off"),
        (Answer(502, body=PAGE), "502"),
        (Answer(400, body=b"[]"), "400"),
        (Answer(200, body=PAGE), "cannot be read"),
        (Answer(200, body=b'{"MessageId": null}'), "cannot be read"),
    ],
    ids=[
        "500",
        "503",
        "without a code",
        "unknown",
        "too large",
        "no answer",
        "a reset",
        "a page",
        "a list",
        "200 and a page",
        "200 and no id",
    ],
)
async def test_a_failure_while_ses_is_up_is_the_mails_own(
    impatient_sender: Ses, script: ScriptedSes, answer: Answer, failure: str
) -> None:
    script.script[TO] = answer

    with pytest.raises(MailFailed, match=failure):
        await impatient_sender.send(mail())

    assert script.asked[TO] == 1  # a second call might send the mail twice


async def test_the_emulators_failure_on_one_mail_is_the_mails_own(ses: Ses) -> None:
    broken = msgspec.structs.replace(mail(), subject="Order\r\nBcc: b@example.com")
    with pytest.raises(MailFailed):
        await ses.send(broken)

    assert await ses.send(mail())


@pytest.mark.parametrize(
    ("answer", "probe"),
    [
        (FAILS, Answer(503)),
        (FAILS, Answer(403)),
        (FAILS, HANGS),
        (FAILS, BREAKS_OFF),
        (HANGS, Answer(503)),
        (BREAKS_OFF, Answer(503)),
        (Answer(200, body=PAGE), Answer(200, body=PAGE)),
    ],
    ids=[
        "500 and 503",
        "500 and 403",
        "500 and no answer",
        "500 and a reset",
        "no answer and 503",
        "a reset and 503",
        "pages of somebody else's",
    ],
)
async def test_the_same_failure_while_ses_is_down_is_an_outage(
    impatient_sender: Ses, script: ScriptedSes, answer: Answer, probe: Answer
) -> None:
    script.script[TO] = answer
    script.probe = probe

    with pytest.raises(Unavailable, match="SES is down"):
        await impatient_sender.send(mail())


async def test_mails_that_fail_together_share_one_probe_of_ses(
    scripted_sender: Ses, script: ScriptedSes
) -> None:
    """AWS allows about one probe a second."""
    customers = [f"customer{number}@example.org" for number in range(40)]
    script.script = dict.fromkeys(customers, FAILS)

    results = await asyncio.gather(
        *(scripted_sender.send(mail(to)) for to in customers), return_exceptions=True
    )

    assert {type(result) for result in results} == {MailFailed}
    assert script.probes == 1


async def test_hanging_mails_do_not_block_others(script: ScriptedSes) -> None:
    """All but one of the consumer's prefetched mails hang."""
    customers = [f"customer{number}@example.org" for number in range(63)]
    script.script = dict.fromkeys(customers, HANGS)
    async with open_ses(sender=SENDER, timeout=60.0) as patient:
        hanging = [asyncio.create_task(patient.send(mail(to))) for to in customers]

        async def all_asked() -> None:
            assert script.asked.total() == len(customers)

        await eventually(all_asked)
        async with asyncio.timeout(25):
            await patient.send(mail())

        assert not any(task.done() for task in hanging)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


@pytest.mark.parametrize("status", [400, 403, 503])
@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("MessageRejected", b'{"message": "Blacklisted"}'),
        ("ThrottlingException:http://internal.amazon.com/coral/", b'{"Message": "Slow down"}'),
        ("aws.ses#NotFoundException", b'{"message": null}'),
        ("", b'{"__type": "com.amazonaws.ses#BadRequestException:http://x", "message": "No"}'),
        ("", b'{"code": "ExpiredToken", "__type": "Other", "message": "Expired"}'),
        ("", b'{"Code": "ExpiredToken"}'),
        ("", b"{}"),
        ("", b""),
        ("", b"<html>"),
    ],
)
def test_an_error_has_the_code_and_text_that_botocore_finds(
    status: int, header: str, body: bytes
) -> None:
    headers = {"x-amzn-errortype": header} if header else {}
    parser: Any = create_parser("rest-json")
    found = parser.parse({"status_code": status, "headers": headers, "body": body}, None)["Error"]

    code, text = read_error(HttpAnswer(status, CIMultiDict(headers), body))

    assert code == found["Code"]
    assert text == (found["Message"] or "") or not body.startswith(b"{")


@pytest.mark.usefixtures("script")
async def test_without_credentials_mail_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with open_ses(sender=SENDER) as ses:
        with pytest.raises(Unavailable, match="Credentials"):
            await ses.send(mail())
