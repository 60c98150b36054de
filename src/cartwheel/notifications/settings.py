"""What notifications reads from the environment."""

from typing import Annotated

from msgspec import Meta

from cartwheel.contracts import text
from cartwheel.kernel import ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """`operations_mail` is where mail about low stock and dead letters goes. Without it, there is
    none."""

    ses_sender: str
    operations_mail: (
        Annotated[
            str,
            Meta(
                pattern=text.MAIL_ADDRESS,
                max_length=254,
                description="a mail address, such as operations@example.com",
            ),
        ]
        | None
    ) = None
