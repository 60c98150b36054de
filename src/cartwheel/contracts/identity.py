"""Who is asking, and who is being served."""

import hashlib
import hmac

import msgspec

from cartwheel.kernel.errors import Forbidden

LONGEST_NAME = 100
_SERVICE = "service:"
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
    """Who asks: the signed-in user, as the gateway verified them, an operator, or a service.

    Every request that not everybody may make carries its actor, and the service that owns the data
    decides. Where a request has the field as optional, senders of an earlier version leave it out:
    they have decided themselves, and the request is answered as it was then.
    """

    user_id: str
    admin: bool = False

    @classmethod
    def service(cls, name: str) -> "Actor":
        """Return the service `name`, which acts for itself: it is no admin."""
        return cls(user_id=f"{_SERVICE}{name}")

    @property
    def is_service(self) -> bool:
        return self.user_id.startswith(_SERVICE)


def require_admin(actor: Actor | None, to_do: str) -> None:
    """Raises Forbidden: the actor, if the request names one, is no admin."""
    if actor is not None and not actor.admin:
        raise Forbidden(f"only an admin {to_do}")


def require_service(actor: Actor | None, to_do: str) -> None:
    """Raises Forbidden: the actor, if the request names one, is no service."""
    if actor is not None and not actor.is_service:
        raise Forbidden(f"only a service {to_do}")


def whose(actor: Actor | None, user_id: str | None) -> str | None:
    """Return the user whose things a list may show, None for everybody's: those of `user_id` for
    an admin, and for others their own."""
    return user_id if actor is None or actor.admin else actor.user_id


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as their order remembers them."""

    id: str
    name: str
    email: str
