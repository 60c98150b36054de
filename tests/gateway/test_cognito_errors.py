"""Whatever Cognito answers, clients get an error that the OpenAPI document lists."""

from typing import Any

import botocore.session

from cartwheel.gateway.cognito import Cognito
from cartwheel.gateway.identity import Verifier
from cartwheel.gateway.routes import auth

from ..journeys.document import Document
from .conftest import probe_app, running
from .issuer import Issuer
from .scripted_cognito import Scripted

CALLS = {
    "sign_up": "SignUp",
    "confirm": "ConfirmSignUp",
    "resend_code": "ResendConfirmationCode",
    "log_in": "InitiateAuth",
    "refresh": "GetTokensFromRefreshToken",
    "log_out": "RevokeToken",
    "forgot_password": "ForgotPassword",
    "reset_password": "ConfirmForgotPassword",
    "me": "GetUser",
    "change_account": "UpdateUserAttributes",
    "change_password": "ChangePassword",
}
"""Of Cognito, by operation."""


async def test_every_error_of_a_call_is_described(
    scripted: Scripted, issuer: Issuer, verifier: tuple[Verifier, Cognito]
) -> None:
    """botocore has AWS's own list of the errors of each call."""
    session: Any = botocore.session.Session()
    cognito: Any = session.get_service_model("cognito-idp")
    app = probe_app(verifier[0], scripted.users, routes=[auth.router])
    seen: set[tuple[str, str]] = set()
    async with running(app) as gateway:
        document = Document((await gateway.get("/api/openapi.json")).json)
        for operation in document.operations:
            call = CALLS.get(operation.described["operationId"])
            errors: list[Any] = cognito.operation_model(call).error_shapes if call else []
            for error in errors:
                scripted.fails_with(error.name)
                sent = operation.described.get("requestBody", {"content": {}})["content"]
                body = sent["application/json"]["example"] if sent else None
                token = "" if operation.described.get("security") == [] else issuer.token()
                got = await gateway.call(operation.method, operation.path, body, token)
                document.check_answer(
                    operation.method, operation.path, got.status, got.headers, got.body.decode()
                )
                if got.json:
                    seen.add((operation.described["operationId"], got.json["code"]))
    assert {name for name, _ in seen} == CALLS.keys()
    assert {("log_in", "user_not_confirmed"), ("sign_up", "email_taken")} <= seen
