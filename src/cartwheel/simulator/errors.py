"""What the simulator answers instead of doing what it was asked, in Stripe's shape.

{"error": {"code": "incorrect_number", "message": "…", "param": "number"}}
"""

from typing import ClassVar


class ApiError(Exception):
    """Base: `status` is HTTP's, `code` is stable, `param` names the field at fault, if it was one.

    The message is for people and never repeats what was sent: that may be a card number.
    """

    status: ClassVar[int] = 400

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class BadRequest(ApiError):
    status = 400


class Unauthorized(ApiError):
    status = 401


class Forbidden(ApiError):
    """The key is known, and not for this."""

    status = 403


class CardError(ApiError):
    """The card's data cannot be right, so there is nothing to ask an issuer about."""

    status = 402


class Missing(ApiError):
    status = 404

    def __init__(self, what: str, param: str | None = None) -> None:
        super().__init__("resource_missing", f"No such {what}.", param)


class Contradiction(ApiError):
    """It was asked before with other content, or what has happened does not allow it."""

    status = 409
