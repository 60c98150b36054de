"""Mail goes out by Amazon SES (https://docs.aws.amazon.com/ses/latest/APIReference-V2/)."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email.utils import parseaddr

import msgspec

from cartwheel.contracts import mail_address
from cartwheel.kernel import Batcher
from cartwheel.kernel.aws import Aws, open_aws
from cartwheel.kernel.errors import Outage, OutcomeUnknown, TimedOut, Unavailable
from cartwheel.kernel.http_client import Answer
from cartwheel.kernel.lowlevel import PREFETCH
from cartwheel.notifications.domain import Mail
from cartwheel.notifications.ports import MailFailed, MailRefused

AT_ONCE = PREFETCH
"""Calls in flight: as many as the consumer has events in hand, so that no mail waits for a slow
one. SES's own limit per account is told by throttling, which we wait out."""

EACH_STEP_SECONDS = 5.0
"""Seconds to connect, and as many for the answer."""

SEND = "/v2/email/outbound-emails"
ACCOUNT = "/v2/email/account"

PROBE_WITHIN_SECONDS = 3.0
WELL_FOR_SECONDS = 5.0
"""Seconds for which a good probe answers for SES. SES allows about one a second."""

OUTAGES = frozenset(
    {
        # The account may not send now, or not so fast.
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
        # The account's set-up is wrong: a domain, or the configuration set.
        "MailFromDomainNotVerified",
        "NotFound",
    }
)
"""Errors that every mail would meet, without the suffix `Exception`, which comes and goes."""

OUTAGE_STATUSES = frozenset({401, 403, 404, 429})

REFUSALS = frozenset({"BadRequest", "MessageRejected"})
"""Errors of this one mail, unless their text names the sender."""


class _Sent(msgspec.Struct, frozen=True, rename="pascal"):
    message_id: str


class _Said(msgspec.Struct, frozen=True):
    """What an error says of itself. AWS spells the names in more than one way."""

    kind: str | None = msgspec.field(name="__type", default=None)
    code: str | None = None
    other_code: str | None = msgspec.field(name="Code", default=None)
    message: str | None = None
    other_message: str | None = msgspec.field(name="Message", default=None)


class Ses:
    def __init__(self, api: Aws, *, sender: str) -> None:
        self._api = api
        self._sender = sender
        self._looks: Batcher[Mail, None] = Batcher(self._look)
        self._well_until = 0.0

    async def send(self, mail: Mail) -> str:
        """Hand `mail` to SES, once; return SES's id for it. A repeat sends it again.

        Raises:
            MailRefused: SES will not send this mail, now or later.
            MailFailed: SES failed on this mail, and is well itself. It may have sent the mail.
            Unavailable: SES is down, or would send no mail at all now.
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
            raise Unavailable(f"SES takes no mail now: {code}")
        if kind in REFUSALS:
            if _names_sender(text, self._sender, mail.to):
                raise Unavailable(f"SES does not take the sender: {code}")
            raise MailRefused(code)
        return code

    async def probe(self) -> None:
        """Return if SES answers and knows us.

        Raises:
            Unavailable, TimedOut, OutcomeUnknown: it does not.
        """
        answer = await self._api.ask("GET", ACCOUNT)
        if answer.status != 200:
            raise Unavailable(f"{answer.status} {read_error(answer)[0]}")
        try:
            msgspec.json.decode(answer.body, type=dict[str, object])
        except msgspec.DecodeError as error:
            raise Unavailable(f"the answer is not SES's: {error}") from error

    async def _look(self, failed: list[Mail]) -> list[None]:
        """Return if SES is well, which is asked once for all mails that have just failed."""
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
    """Return code and text of an error, as botocore reads them; without a code it is the status.

    Source: https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html#operation-error-serialization
    """
    try:
        said = msgspec.json.decode(answer.body, type=_Said)
    except msgspec.DecodeError:  # nothing, or a page of whatever stands in between
        said = _Said()
    code = answer.headers.get("x-amzn-ErrorType") or said.code or said.other_code or said.kind
    name = (code or str(answer.status)).partition(":")[0].rpartition("#")[2]
    return name, said.message or said.other_message or ""


def _names_sender(text: str, sender: str, recipient: str) -> bool:
    """Return whether `text` names the sender's address or domain as what is at fault.

    The recipient is cut out first: customers choose it, and one that contains the sender's address
    must not stop everybody's mail.
    """
    address = parseaddr(sender)[1].casefold()
    domain = address.rpartition("@")[2]
    left = text.casefold().replace(recipient.casefold(), " ")
    words = {word.strip(".") for word in re.split(r"[\s,:;/=<>()\"'`]+", left)}
    return not words.isdisjoint({address, domain})


def _recipient(mail: Mail) -> str:
    """Return whom `mail` goes to. Orders from before addresses were checked may name anything."""
    try:
        return mail_address.for_mail(mail.to)
    except mail_address.InvalidMailAddress as error:
        raise MailRefused(f"not an address: {error}") from None


@asynccontextmanager
async def open_ses(*, sender: str, timeout: float = EACH_STEP_SECONDS) -> AsyncGenerator[Ses]:
    """Yield SES by the ordinary AWS settings; `AWS_ENDPOINT_URL` names an emulator."""
    async with open_aws("sesv2", timeout=timeout, at_once=AT_ONCE) as api:
        yield Ses(api, sender=sender)
