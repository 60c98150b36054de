"""Mail addresses, as far as they can be judged without asking anybody."""

from email_validator import EmailNotValidError, validate_email


class InvalidMailAddress(ValueError):
    """No mail can be sent there; the message says why, without control characters."""


def for_mail(address: str) -> str:
    """Return `address` as SES takes it: in ASCII, a domain of other letters in punycode (RFC 3492).

    SES knows no addresses with other letters before the @
    (https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Destination.html).

    Raises:
        InvalidMailAddress: it is none, is too long, or has a name or comment with it.
    """
    try:
        checked = validate_email(
            address,
            check_deliverability=False,  # no DNS
            test_environment=True,  # `.test` is a domain like any other
            allow_smtputf8=False,
            strict=True,
        )
    except EmailNotValidError as error:
        raise InvalidMailAddress(str(error)) from None
    return checked.ascii_email or checked.normalized
