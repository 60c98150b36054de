"""Who makes a request (the actor), and for which customer."""

import hashlib
import hmac

import msgspec

from cartwheel.kernel.errors import Forbidden

LONGEST_NAME = 100
_SERVICE = "service:"
EMAIL_MARK = "custom:email_mark"
"""The attribute that marks a user's address as verified on an emulator of Cognito."""


def email_mark(key: str, email: str) -> str:
    """Return the mark of the verified address `email`. Only the holder of `key` can make it.

    AWS itself states whether an address is verified. The emulator does not, and its users may set
    any attribute, so a mark that they cannot forge takes the place of that statement.
    """
    # A user of the emulator may set an address that is not valid Unicode.
    address = email.encode(errors="surrogatepass")
    return hmac.new(key.encode(), address, hashlib.sha256).hexdigest()


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request: a user whom the gateway has verified, an operator, or a service.

    Every restricted request carries its actor, and the service that owns the data decides. In some
    requests the field is optional, because senders of an earlier version leave it out. Those have
    checked the permission themselves, so the request is answered without a check.
    """

    user_id: str
    admin: bool = False

    @classmethod
    def service(cls, name: str) -> "Actor":
        """Return the service `name`, acting for itself. It is not an admin."""
        return cls(user_id=f"{_SERVICE}{name}")

    @classmethod
    def anybody(cls) -> "Actor":
        """Return whoever reads what everybody may read: one actor, so that equal reads of different
        people are sent once."""
        return cls(user_id="anybody")

    @property
    def is_service(self) -> bool:
        return self.user_id.startswith(_SERVICE)


def require_admin(actor: Actor | None, to_do: str) -> None:
    """Check that the actor, if the request names one, is an admin.

    Raises:
        Forbidden: it is not.
    """
    if actor is not None and not actor.admin:
        raise Forbidden(f"Only an administrator may {to_do}.")


def require_service(actor: Actor | None, to_do: str) -> None:
    """Check that the actor, if the request names one, is a service.

    Raises:
        Forbidden: it is not.
    """
    if actor is not None and not actor.is_service:
        raise Forbidden(f"Only a service may {to_do}.")


def whose(actor: Actor | None, user_id: str | None) -> str | None:
    """Return the user whose entries a list may show; None means all users.

    An admin sees those of `user_id`. Everybody else sees only their own.
    """
    return user_id if actor is None or actor.admin else actor.user_id


class User(msgspec.Struct, frozen=True, kw_only=True):
    """The customer, as stored in the order."""

    id: str
    name: str
    email: str
