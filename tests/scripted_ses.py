"""Stands before the emulator's SES and answers some requests itself, as a sick SES would."""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import web

_SEND = "/v2/email/outbound-emails"
_NOT_PASSED_ON = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class _Destination(msgspec.Struct):
    ToAddresses: list[str]


class _Send(msgspec.Struct):
    Destination: _Destination


class Failure(msgspec.Struct, frozen=True):
    """For example 400 `MessageRejected`, or 500 `InternalServiceErrorException`."""

    status: int
    code: str


class ScriptedSes:
    """Made by `scripted_ses`; what it does not answer itself, the emulator does."""

    def __init__(self, emulator: aiohttp.ClientSession) -> None:
        self._emulator = emulator
        self._failure: Failure | None = None
        self._recipients: Collection[str] | None = None
        self.url = ""

    def fail(self, failure: Failure) -> None:
        """Answer every request with `failure`: something is wrong with SES, or the account."""
        self._failure, self._recipients = failure, None

    def fail_mail_to(self, recipients: Collection[str], failure: Failure) -> None:
        """Answer each mail to one of `recipients` with `failure`. SES itself is well."""
        self._failure, self._recipients = failure, recipients

    def recover(self) -> None:
        self._failure = None

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self._failure is not None and self._is_concerned(request, body):
            return web.json_response(
                {"message": "as the test asked for"},
                status=self._failure.status,
                headers={"x-amzn-errortype": self._failure.code},
            )
        async with self._emulator.request(
            request.method, request.raw_path, data=body, headers=_passed_on(request.headers)
        ) as answer:
            return web.Response(
                body=await answer.read(), status=answer.status, headers=_passed_on(answer.headers)
            )

    def _is_concerned(self, request: web.Request, body: bytes) -> bool:
        if self._recipients is None:
            return True
        if request.path != _SEND:
            return False
        sent = msgspec.json.decode(body, type=_Send)
        return not set(self._recipients).isdisjoint(sent.Destination.ToAddresses)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _NOT_PASSED_ON}


@asynccontextmanager
async def scripted_ses(emulator: str) -> AsyncGenerator[ScriptedSes]:
    """Yield an SES at `url` that passes on to the `emulator` what it is not told to fail."""
    async with aiohttp.ClientSession(emulator, auto_decompress=False) as session:
        ses = ScriptedSes(session)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", ses.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ses.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield ses
        finally:
            await runner.cleanup()
