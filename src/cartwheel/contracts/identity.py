"""Who is asking, and who is being served."""

import hashlib
import hmac

import msgspec

LONGEST_NAME = 100
EMAIL_MARK = "custom:email_mark"
"""The attribute by which a user of an emulator of Cognito has a verified address."""


def email_mark(key: str, email: str) -> str:
    """Return the mark of the verified address `email`, which only who knows `key` can make.

    AWS says itself which address is verified. The emulator does not, and lets its users write any
    attribute: so what they cannot forge stands in for it.
    """
    # A user of the emulator may write what is no text into the address.
    address = email.encode(errors="surrogatepass")
    return hmac.new(key.encode(), address, hashlib.sha256).hexdigest()


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The signed-in user on whose behalf a request is made, as the gateway verified them."""

    user_id: str
    admin: bool = False


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as their order remembers them."""

    id: str
    name: str
    email: str
