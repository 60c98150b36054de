"""The users that exist from the start in the emulator of Cognito."""

ADMIN, CUSTOMER = "admin@example.com", "customer@example.com"
PASSWORD = "Cartwheel-Demo-1"  # noqa: S105 shown to everyone who runs `make up`; loopback only
SIGN_UP_CODE, RESET_CODE = "123456", "654321"
"""The fixed codes that the emulator mails, to confirm an address and to set a new password."""
