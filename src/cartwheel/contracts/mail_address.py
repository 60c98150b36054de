"""Checks of mail addresses that need no DNS query."""

from email_validator import EmailNotValidError, validate_email


class InvalidMailAddress(ValueError):
    """No mail can be sent to the address. The message says why, without control characters."""


def for_mail(address: str) -> str:
    """Return `address` in the form that SES accepts: ASCII, the domain in punycode (RFC 3492).

    SES accepts only ASCII before the @
    (https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Destination.html).

    Raises:
        InvalidMailAddress: it is not an address, is too long, or contains a name or a comment.
    """
    try:
        checked = validate_email(
            address,
            check_deliverability=False,  # no DNS
            test_environment=True,  # accept `.test` domains
            allow_smtputf8=False,
            strict=True,
        )
    except EmailNotValidError as error:
        raise InvalidMailAddress(str(error)) from None
    return checked.ascii_email or checked.normalized
