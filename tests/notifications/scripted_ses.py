"""A stand-in for Amazon SES that answers as the script says, where the emulator cannot."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web


class Answer(msgspec.Struct, frozen=True):
    """An error of SES's, or silence for so many seconds and then a yes."""

    status: int = 200
    code: str = ""
    text: str = ""
    after: float = 0.0


FAILS = Answer(500, "InternalFailure")
HANGS = Answer(after=60)


class ScriptedSes:
    """Takes mail, but for the addresses in `script`; `probe` is its answer about the account."""

    def __init__(self) -> None:
        self.script: dict[str, Answer] = {}
        self.probe = Answer()
        self.probes = 0
        self.asked: Counter[str] = Counter()
        """How often it was asked to send, by address."""
        self.taken: list[str] = []
        """To whom it has sent, in order."""
        self.bodies: list[dict[str, object]] = []
        self.url = ""

    async def send_email(self, request: web.Request) -> web.Response:
        mail = await request.json()
        [to] = mail["Destination"]["ToAddresses"]
        self.asked[to] += 1
        answer = self.script.get(to, Answer())
        await asyncio.sleep(answer.after)
        if answer.status != 200:
            return _error(answer)
        self.taken.append(to)
        self.bodies.append(mail["Content"]["Simple"]["Body"])
        return web.json_response({"MessageId": f"scripted-{len(self.taken)}"})

    async def get_account(self, _: web.Request) -> web.Response:
        self.probes += 1
        await asyncio.sleep(self.probe.after)
        if self.probe.status != 200:
            return _error(self.probe)
        return web.json_response({"SendingEnabled": True})


def _error(answer: Answer) -> web.Response:
    headers = {"x-amzn-ErrorType": answer.code} if answer.code else {}
    return web.json_response({"message": answer.text}, status=answer.status, headers=headers)


@asynccontextmanager
async def scripted_ses() -> AsyncGenerator[ScriptedSes]:
    ses = ScriptedSes()
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
