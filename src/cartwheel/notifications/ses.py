"""Mail goes out by Amazon SES (https://docs.aws.amazon.com/ses/latest/APIReference-V2/)."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email.utils import parseaddr
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from cartwheel.kernel import mail_address
from cartwheel.kernel.bus.intake import PREFETCH
from cartwheel.kernel.errors import Unavailable
from cartwheel.kernel.lane import Lane
from cartwheel.notifications.handlers import MailFailed, MailRefused
from cartwheel.notifications.mail import Mail

AT_ONCE = PREFETCH
"""Calls in flight: as many as the consumer has events in hand, so that no mail waits for a slow
one. SES's own limit per account is told by throttling, which we wait out."""

TIMEOUT = 5.0
"""Seconds to connect, and as many for the answer."""

PROBE_WITHIN = 3.0
WELL_FOR = 5.0
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


class Ses:
    def __init__(self, client: Any, *, sender: str) -> None:
        self._client = client
        self._sender = sender
        self._looks: Lane[Mail, None] = Lane(self._look)
        self._well_until = 0.0

    async def send(self, mail: Mail) -> str:
        """Hand `mail` to SES; return SES's id for it. A repeat sends it again.

        Raises:
            MailRefused: SES will not send this mail, now or later.
            MailFailed: SES failed on this mail, and is well itself. It may have sent the mail.
            Unavailable: SES is down, or would send no mail at all now.
        """
        body = {"Text": {"Data": mail.text, "Charset": "UTF-8"}}
        if mail.html:
            body["Html"] = {"Data": mail.html, "Charset": "UTF-8"}
        try:
            answer = await self._client.send_email(
                FromEmailAddress=self._sender,
                Destination={"ToAddresses": [_recipient(mail)]},
                Content={
                    "Simple": {"Subject": {"Data": mail.subject, "Charset": "UTF-8"}, "Body": body}
                },
            )
        except ClientError as error:
            failure = self._refusal(error, mail)
        except HTTPClientError as error:  # the answer was late, or broke off
            failure = type(error).__name__
        except BotoCoreError as error:  # no connection, no credentials
            raise Unavailable(f"SES cannot be reached: {type(error).__name__}") from error
        else:
            return answer["MessageId"]
        await self._looks.submit(mail)
        raise MailFailed(failure)

    def _refusal(self, error: ClientError, mail: Mail) -> str:
        """Return the code of an error that is neither an outage nor a refusal; raise those."""
        response: Any = error.response
        code: str = response.get("Error", {}).get("Code", "")
        text: str = response.get("Error", {}).get("Message", "")
        status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = code.removesuffix("Exception")
        if kind in OUTAGES or status in OUTAGE_STATUSES:
            raise Unavailable(f"SES takes no mail now: {code}") from error
        if kind in REFUSALS:
            if _names_sender(text, self._sender, mail.to):
                raise Unavailable(f"SES does not take the sender: {code}") from error
            raise MailRefused(code) from error
        return code

    async def probe(self) -> None:
        """Return if SES answers and knows us."""
        await self._client.get_account()

    async def _look(self, failed: list[Mail]) -> list[None]:
        """Return if SES is well, which is asked once for all mails that have just failed."""
        if time.monotonic() > self._well_until:
            try:
                async with asyncio.timeout(PROBE_WITHIN):
                    await self.probe()
            except (ClientError, BotoCoreError, TimeoutError) as error:
                raise Unavailable(f"SES is down: {type(error).__name__}") from error
            self._well_until = time.monotonic() + WELL_FOR
        return [None] * len(failed)


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
async def open_ses(*, sender: str, timeout: float = TIMEOUT) -> AsyncGenerator[Ses]:
    """Yield SES by the ordinary AWS settings; `AWS_ENDPOINT_URL` names an emulator."""
    config = AioConfig(
        connect_timeout=timeout,
        read_timeout=timeout,
        max_pool_connections=AT_ONCE,
        retries={"mode": "standard", "total_max_attempts": 1},
        # The types of what is sent are checked already, and SES checks the rest.
        parameter_validation=False,
    )
    session: Any = AioSession()
    async with session.create_client("sesv2", config=config) as client:
        yield Ses(client, sender=sender)
