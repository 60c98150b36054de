"""Somebody who issues tokens: keys of their own, published by a real server on loopback."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

ISSUER = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Test"
CLIENT = "the-client"


class Issuer:
    def __init__(self) -> None:
        self.keys: dict[str, RSAPrivateKey] = {"one": new_key()}
        self.fetches = 0
        self.away = False
        self.url = ""

    async def serve_keys(self, _: web.Request) -> web.Response:
        self.fetches += 1
        if self.away:
            raise web.HTTPServiceUnavailable
        keys: list[dict[str, Any]] = [
            {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
            for kid, key in self.keys.items()
        ]
        return web.json_response({"keys": keys})

    def claims(self, **changed: object) -> dict[str, Any]:
        now = int(time.time())
        claims: dict[str, Any] = {
            "sub": "user-1",
            "iss": ISSUER,
            "client_id": CLIENT,
            "token_use": "access",
            "iat": now,
            "exp": now + 3600,
            "jti": str(time.perf_counter_ns()),
        }
        claims |= changed
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self,
        *,
        kid: str = "one",
        key: RSAPrivateKey | str | bytes | None = None,
        algorithm: str = "RS256",
        groups: list[str] | None = None,
        **changed: object,
    ) -> str:
        if groups is not None:
            changed["cognito:groups"] = groups
        signing = self.keys["one"] if key is None else key
        return jwt.encode(
            self.claims(**changed), signing, algorithm=algorithm, headers={"kid": kid}
        )

    @property
    def public_pem(self) -> bytes:
        public = self.keys["one"].public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def new_key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@asynccontextmanager
async def issuing() -> AsyncGenerator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/jwks.json", issuer.serve_keys)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    yield issuer
    await runner.cleanup()
