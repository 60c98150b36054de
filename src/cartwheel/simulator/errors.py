"""The error answers of the simulator, in Stripe's format.

{"error": {"code": "incorrect_number", "message": "…", "param": "number"}}
"""

from typing import ClassVar


class ApiError(Exception):
    """Base class. `status` is the HTTP status, `code` is stable, `param` names the field at fault.

    The message is for people. It never repeats the input, which may be a card number.
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
    """The key is known, but not for this route."""

    status = 403


class CardError(ApiError):
    """The card's data is invalid, so no issuer is asked."""

    status = 402


class Missing(ApiError):
    status = 404

    def __init__(self, what: str, param: str | None = None) -> None:
        super().__init__("resource_missing", f"No such {what}.", param)


class Contradiction(ApiError):
    """The request contradicts an earlier one, or the payment's state does not allow it."""

    status = 409
