"""Signing up and logging in, as clients of the gateway do."""

import secrets
from typing import Any

from cartwheel.local.demo_users import SIGN_UP_CODE

from .conftest import Gateway, Reply

AUTH = "/api/v1/auth"
PASSWORD = "Good-Pass-1"


def new_email() -> str:
    return f"ada.{secrets.token_hex(6)}@example.com"


async def sign_up(real: Gateway, email: str, name: str = "Ada Lovelace") -> Reply:
    return await real.post(f"{AUTH}/signup", {"name": name, "email": email, "password": PASSWORD})


async def customer(real: Gateway, name: str = "Ada Lovelace") -> tuple[str, Any]:
    """Sign up and confirm somebody new; return address and tokens."""
    email = new_email()
    assert (await sign_up(real, email, name)).status == 201
    confirmed = await real.post(f"{AUTH}/confirm", {"email": email, "code": SIGN_UP_CODE})
    assert confirmed.status == 204
    return email, (await log_in(real, email)).json


async def log_in(real: Gateway, email: str, password: str = PASSWORD) -> Reply:
    return await real.post(f"{AUTH}/login", {"email": email, "password": password})
