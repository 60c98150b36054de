"""A server in place of Amazon SES with scripted answers, for errors the emulator cannot produce."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import web


class Answer(msgspec.Struct, frozen=True):
    """An error of SES, or a success after so many seconds, or the given `body`."""

    status: int = 200
    code: str = ""
    text: str = ""
    after: float = 0.0
    body: bytes | None = None
    breaks_off: bool = False
    """Whether the connection is reset in place of an answer."""


FAILS = Answer(500, "InternalFailure")
HANGS = Answer(after=60)
_YES = Answer()
_OF_ONE_HOP = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class ScriptedSes:
    """Accepts mail, except to the addresses in `script`. `probe` is its answer about the account.

    If an emulator of SES is given, accepted mail is passed on to it.
    """

    def __init__(self, emulator: aiohttp.ClientSession | None = None) -> None:
        self._emulator = emulator
        self.script: dict[str, Answer] = {}
        self.mail = _YES
        """The answer to mail to other addresses than those in `script`."""
        self.probe = _YES
        self.rate: float | None = None
        """The account's MaxSendRate, if it names one."""
        self.probes = 0
        self.asked: Counter[str] = Counter()
        """The number of calls to send, by address."""
        self.taken: list[str] = []
        """The recipients of sent mail, in order."""
        self.taken_at: list[float] = []
        self.bodies: list[dict[str, object]] = []
        self.url = ""

    def recover(self) -> None:
        """Accept all mail from now on."""
        self.script = {}
        self.mail = self.probe = _YES

    async def send_email(self, request: web.Request) -> web.StreamResponse:
        mail = await request.json()
        [to] = mail["Destination"]["ToAddresses"]
        self.asked[to] += 1
        answer = self.script.get(to, self.mail)
        await asyncio.sleep(answer.after)
        if told := _told(request, answer):
            return told
        self.taken.append(to)
        self.taken_at.append(time.monotonic())
        self.bodies.append(mail["Content"]["Simple"]["Body"])
        if self._emulator is not None:
            return await self._pass_on(request, self._emulator)
        return web.json_response({"MessageId": f"scripted-{len(self.taken)}"})

    async def get_account(self, request: web.Request) -> web.StreamResponse:
        self.probes += 1
        await asyncio.sleep(self.probe.after)
        if told := _told(request, self.probe):
            return told
        if self._emulator is not None:
            return await self._pass_on(request, self._emulator)
        quota = {} if self.rate is None else {"SendQuota": {"MaxSendRate": self.rate}}
        return web.json_response({"SendingEnabled": True, **quota})

    async def _pass_on(
        self, request: web.Request, emulator: aiohttp.ClientSession
    ) -> web.StreamResponse:
        async with emulator.request(
            request.method,
            request.raw_path,
            data=await request.read(),
            headers=_passed_on(request.headers),
        ) as answer:
            return web.Response(
                body=await answer.read(), status=answer.status, headers=_passed_on(answer.headers)
            )


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_ONE_HOP}


def _told(request: web.Request, answer: Answer) -> web.Response | None:
    """Return the answer, if it is not a success."""
    if answer.breaks_off and request.transport is not None:
        request.transport.abort()
    headers = {"x-amzn-ErrorType": answer.code} if answer.code else {}
    if answer.body is not None:
        return web.Response(body=answer.body, status=answer.status, headers=headers)
    if answer.status == 200:
        return None
    return web.json_response({"message": answer.text}, status=answer.status, headers=headers)


@asynccontextmanager
async def scripted_ses(emulator: str | None = None) -> AsyncGenerator[ScriptedSes]:
    """Yield an SES at its `url`. `emulator` is the URL of one that gets the accepted mail."""
    if emulator is None:
        async with _serving(ScriptedSes()) as ses:
            yield ses
    else:
        async with (
            aiohttp.ClientSession(emulator, auto_decompress=False) as session,
            _serving(ScriptedSes(session)) as ses,
        ):
            yield ses


@asynccontextmanager
async def _serving(ses: ScriptedSes) -> AsyncGenerator[ScriptedSes]:
    app = web.Application()
    app.router.add_post("/v2/email/outbound-emails", ses.send_email)
    app.router.add_get("/v2/email/account", ses.get_account)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        ses.url = f"http://{host}:{port}"
        yield ses
    finally:
        await runner.cleanup()
