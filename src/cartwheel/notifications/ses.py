"""Mail goes out by Amazon SES (https://docs.aws.amazon.com/ses/latest/APIReference-V2/)."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from cartwheel.kernel import mail_address
from cartwheel.kernel.errors import Unavailable
from cartwheel.notifications.handlers import MailRefused
from cartwheel.notifications.mail import Mail

AT_ONCE = 16
"""Calls in flight; SES's own limit per account is told by throttling, which we wait out."""

_TIMEOUT = 5
_LATER = frozenset(
    {
        "TooManyRequestsException",
        "Throttling",
        "ThrottlingException",
        "LimitExceededException",
        "SendingPausedException",
        "AccountSuspendedException",
        "InternalServiceErrorException",
        "InternalFailure",
        "ServiceUnavailable",
        "ExpiredTokenException",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "AccessDeniedException",
    }
)
"""Errors that are not this mail's: it waits until they have passed, or been put right."""


class Ses:
    def __init__(self, client: Any, *, sender: str) -> None:
        self._client = client
        self._sender = sender
        self._room = asyncio.Semaphore(AT_ONCE)

    async def send(self, mail: Mail) -> str:
        """Hand `mail` to SES; return SES's id for it. A repeat sends it again.

        Raises:
            MailRefused: SES will not send this mail, now or later.
            Unavailable: SES is away or wants us to wait.
        """
        async with self._room:
            try:
                answer = await self._client.send_email(
                    FromEmailAddress=self._sender,
                    Destination={"ToAddresses": [_recipient(mail)]},
                    Content={
                        "Simple": {
                            "Subject": {"Data": mail.subject, "Charset": "UTF-8"},
                            "Body": {
                                "Text": {"Data": mail.text, "Charset": "UTF-8"},
                                "Html": {"Data": mail.html, "Charset": "UTF-8"},
                            },
                        }
                    },
                )
            except ClientError as error:
                response: Any = error.response
                code: str = response.get("Error", {}).get("Code", "")
                status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if code in _LATER or status >= 500:
                    raise Unavailable(f"SES asks to wait: {code}") from error
                raise MailRefused(code) from error
            except (NoConnection, HTTPClientError) as error:
                raise Unavailable(f"SES cannot be reached: {type(error).__name__}") from error
        return answer["MessageId"]

    async def probe(self) -> None:
        """Return if SES answers and would send."""
        await self._client.get_account()


def _recipient(mail: Mail) -> str:
    """Return whom `mail` goes to. Orders from before addresses were checked may name anything."""
    try:
        return mail_address.for_mail(mail.to)
    except mail_address.InvalidMailAddress as error:
        raise MailRefused(f"not an address: {error}") from None


@asynccontextmanager
async def open_ses(*, sender: str) -> AsyncGenerator[Ses]:
    """Yield SES by the ordinary AWS settings; `AWS_ENDPOINT_URL` names an emulator."""
    config = AioConfig(
        connect_timeout=_TIMEOUT,
        read_timeout=_TIMEOUT,
        max_pool_connections=AT_ONCE,
        retries={"mode": "standard", "total_max_attempts": 1},
        # The types of what is sent are checked already, and SES checks the rest.
        parameter_validation=False,
    )
    session: Any = AioSession()
    async with session.create_client("sesv2", config=config) as client:
        yield Ses(client, sender=sender)
