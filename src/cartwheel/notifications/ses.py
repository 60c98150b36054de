"""Sending mail with Amazon SES (https://docs.aws.amazon.com/ses/latest/APIReference-V2/)."""

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email.utils import parseaddr

import msgspec

from cartwheel.contracts import mail_address
from cartwheel.kernel import Batcher, log
from cartwheel.kernel.aws import Aws, open_aws
from cartwheel.kernel.errors import Outage, OutcomeUnknown, TimedOut, Unavailable
from cartwheel.kernel.http_client import Answer
from cartwheel.kernel.lowlevel import PREFETCH
from cartwheel.notifications.domain import Mail
from cartwheel.notifications.ports import MailFailed, MailRefused

AT_ONCE = PREFETCH
"""Calls in flight: one for each event that the consumer prefetches, so no mail waits for a slow
one."""

WAIT_AT_MOST_SECONDS = 5.0
"""Seconds for which a mail waits for its turn. The consumer allows an event 20 s in all."""

RATE_FOR_SECONDS = 600.0
"""Seconds for which the account's rate is trusted. AWS raises it as a shop grows."""

EACH_STEP_SECONDS = 5.0
"""Seconds allowed to connect, and again for the answer."""

SEND = "/v2/email/outbound-emails"
ACCOUNT = "/v2/email/account"

PROBE_WITHIN_SECONDS = 3.0
WELL_FOR_SECONDS = 5.0
"""Seconds for which a successful probe is trusted. SES allows about one a second."""

OUTAGES = frozenset(
    {
        # The account may not send at all, or not this fast.
        "AccountSendingPaused",
        "AccountSuspended",
        "LimitExceeded",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SendingPaused",
        "Throttled",
        "Throttling",
        "TooManyRequests",
        # The key or the clock is wrong.
        "AccessDenied",
        "ExpiredToken",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignature",
        "MissingAuthenticationToken",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClient",
        # The account is misconfigured: a domain or the configuration set.
        "MailFromDomainNotVerified",
        "NotFound",
    }
)
"""Errors that would affect every mail. Names lack the suffix `Exception`, which varies."""

OUTAGE_STATUSES = frozenset({401, 403, 404, 429})

REFUSALS = frozenset({"BadRequest", "MessageRejected"})
"""Errors that concern one mail only, unless their text names the sender."""


class _Sent(msgspec.Struct, frozen=True, rename="pascal"):
    message_id: str


class _Quota(msgspec.Struct, frozen=True, rename="pascal"):
    max_send_rate: float = 0.0


class _Account(msgspec.Struct, frozen=True, rename="pascal"):
    """SES's answer about the account. Some emulators leave the quota out."""

    send_quota: _Quota = _Quota()


class _Said(msgspec.Struct, frozen=True):
    """The body of an error. AWS spells the field names in more than one way."""

    kind: str | None = msgspec.field(name="__type", default=None)
    code: str | None = None
    other_code: str | None = msgspec.field(name="Code", default=None)
    message: str | None = None
    other_message: str | None = msgspec.field(name="Message", default=None)


class Ses:
    """Mail through SES, not faster than the account permits.

    `rate` is the mails per second, 0 for no limit. Without it, it is the account's `MaxSendRate`,
    which SES permits to exceed "for short bursts, but not for sustained periods of time"
    (https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas.html).
    """

    def __init__(self, api: Aws, *, sender: str, rate: float | None = None) -> None:
        self._api = api
        self._sender = sender
        self._rate = rate
        self._rate_until = -math.inf if rate is None else math.inf
        self._next_turn = 0.0
        self._looks: Batcher[Mail, None] = Batcher(self._look)
        self._learning: Batcher[None, None] = Batcher(self._learn)
        self._well_until = 0.0

    async def turn(self) -> None:
        """Wait until one more mail may be sent. Each mail takes a turn before it is claimed.

        Raises:
            Unavailable: others wait already for as long as a mail may wait.
        """
        if time.monotonic() > self._rate_until:
            await self._learning.submit(None)
        if not self._rate:
            return
        now = time.monotonic()
        mine = max(now, self._next_turn)
        if mine - now > WAIT_AT_MOST_SECONDS:
            raise Unavailable(f"SES takes {self._rate:g} mails a second, and more are waiting")
        self._next_turn = mine + 1 / self._rate
        await asyncio.sleep(mine - now)

    async def send(self, mail: Mail) -> str:
        """Hand `mail` to SES once; return SES's id for it. A repeat sends the mail again.

        Raises:
            MailRefused: SES will never send this mail.
            MailFailed: SES works, but failed on this mail. It may have sent the mail.
            Unavailable: SES is down, or sends no mail at all at the moment.
        """
        body = {"Text": {"Data": mail.text, "Charset": "UTF-8"}}
        if mail.html:
            body["Html"] = {"Data": mail.html, "Charset": "UTF-8"}
        request = {
            "FromEmailAddress": self._sender,
            "Destination": {"ToAddresses": [_recipient(mail)]},
            "Content": {
                "Simple": {"Subject": {"Data": mail.subject, "Charset": "UTF-8"}, "Body": body}
            },
        }
        try:
            answer = await self._api.ask("POST", SEND, msgspec.json.encode(request))
            if answer.status == 200:
                return msgspec.json.decode(answer.body, type=_Sent).message_id
            failure = self._refusal(answer, mail)
        except (TimedOut, OutcomeUnknown) as outage:
            failure = str(outage)
        except msgspec.DecodeError as error:
            failure = f"the answer cannot be read: {error}"
        await self._looks.submit(mail)
        raise MailFailed(failure)

    def _refusal(self, answer: Answer, mail: Mail) -> str:
        """Return the code of an error that is neither an outage nor a refusal; raise those."""
        code, text = read_error(answer)
        kind = code.removesuffix("Exception")
        if kind in OUTAGES or answer.status in OUTAGE_STATUSES:
            raise Unavailable(f"SES accepts no mail at the moment: {code}")
        if kind in REFUSALS:
            if _names_sender(text, self._sender, mail.to):
                raise Unavailable(f"SES refuses the sender: {code}")
            raise MailRefused(code)
        return code

    async def probe(self) -> None:
        """Check that SES answers and accepts the credentials, and learn how fast it takes mail.

        Raises:
            Unavailable, TimedOut, OutcomeUnknown: it does not.
        """
        answer = await self._api.ask("GET", ACCOUNT)
        if answer.status != 200:
            raise Unavailable(f"{answer.status} {read_error(answer)[0]}")
        try:
            account = msgspec.json.decode(answer.body, type=_Account)
        except msgspec.DecodeError as error:
            raise Unavailable(f"the answer is not SES's: {error}") from error
        if self._rate_until < math.inf:
            self._rate = max(0.0, account.send_quota.max_send_rate)
            self._rate_until = time.monotonic() + RATE_FOR_SECONDS

    async def _learn(self, waiting: list[None]) -> list[None]:
        """Ask how fast SES takes mail. If it does not say, mail is sent as before."""
        if time.monotonic() > self._rate_until:
            try:
                async with asyncio.timeout(PROBE_WITHIN_SECONDS):
                    await self.probe()
            except (Outage, TimeoutError) as error:
                self._rate_until = time.monotonic() + RATE_FOR_SECONDS
                log.warning("SES does not say how fast it takes mail", error=repr(error))
        return [None] * len(waiting)

    async def _look(self, failed: list[Mail]) -> list[None]:
        """Check that SES works. One probe serves all mail that has just failed."""
        if time.monotonic() > self._well_until:
            try:
                async with asyncio.timeout(PROBE_WITHIN_SECONDS):
                    await self.probe()
            except TimeoutError:
                raise Unavailable(f"SES is down: silent for {PROBE_WITHIN_SECONDS:.0f} s") from None
            except Outage as outage:
                raise Unavailable(f"SES is down: {outage}") from outage
            self._well_until = time.monotonic() + WELL_FOR_SECONDS
        return [None] * len(failed)


def read_error(answer: Answer) -> tuple[str, str]:
    """Return code and text of an error, read as botocore does. Without a code, use the status.

    Source: https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html#operation-error-serialization
    """
    try:
        said = msgspec.json.decode(answer.body, type=_Said)
    except msgspec.DecodeError:  # an empty body, or a page from a proxy
        said = _Said()
    code = answer.headers.get("x-amzn-ErrorType") or said.code or said.other_code or said.kind
    name = (code or str(answer.status)).partition(":")[0].rpartition("#")[2]
    return name, said.message or said.other_message or ""


def _names_sender(text: str, sender: str, recipient: str) -> bool:
    """Return whether `text` blames the sender's address or domain.

    The recipient is cut out first. Customers choose it, and a recipient that contains the sender's
    address must not stop everybody's mail.
    """
    address = parseaddr(sender)[1].casefold()
    domain = address.rpartition("@")[2]
    left = text.casefold().replace(recipient.casefold(), " ")
    words = {word.strip(".") for word in re.split(r"[\s,:;/=<>()\"'`]+", left)}
    return not words.isdisjoint({address, domain})


def _recipient(mail: Mail) -> str:
    """Return the recipient of `mail`. Orders that predate the address check may name anything."""
    try:
        return mail_address.for_mail(mail.to)
    except mail_address.InvalidMailAddress as error:
        raise MailRefused(f"not an address: {error}") from None


@asynccontextmanager
async def open_ses(
    *, sender: str, rate: float | None = None, timeout: float = EACH_STEP_SECONDS
) -> AsyncGenerator[Ses]:
    """Yield SES, configured by the usual AWS settings. `AWS_ENDPOINT_URL` may name an emulator."""
    async with open_aws("sesv2", timeout=timeout, at_once=AT_ONCE) as api:
        yield Ses(api, sender=sender, rate=rate)
