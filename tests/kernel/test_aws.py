"""Asking AWS: signed, as whom, by which way. The service checks signatures as AWS does."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.auth
import pytest
from aiohttp import web

from cartwheel.kernel.aws import Aws, open_aws
from cartwheel.kernel.errors import TimedOut, Unavailable

from .. import sigv4
from ..certificates import make_certificates
from ..sigv4 import Secret
from ..waiting import eventually

REGION = "eu-central-1"
PATH = "/v2/email/account"
BODY = '{"Subject": "Bücher"}'.encode()
LONG = timedelta(hours=6)


class Service:
    """Takes what is signed by a key in `secrets`; hands out the credentials `given`, as the agent
    of a container does."""

    def __init__(self) -> None:
        self.secrets = {"AKIASTATIC": Secret("static")}
        self.given: tuple[str, timedelta] | None = None
        """A key's id, and when it expires. None: 500."""
        self.pause = 0.0
        """Seconds that pass before credentials are handed out."""
        self.handed_out = 0
        self.bodies: list[bytes] = []
        self.url = ""

    def gives(self, key: str, *, expires_in: timedelta) -> None:
        self.secrets[key] = Secret(f"secret of {key}", f"token+/= of {key}")
        self.given = key, expires_in

    async def ask(self, request: web.Request) -> web.StreamResponse:
        fault = await sigv4.fault(request, self.secrets, region=REGION, service="ses")
        if fault is not None:
            return web.json_response({}, status=403, headers={"x-amzn-ErrorType": fault})
        self.bodies.append(await request.read())
        return web.Response(text=request.headers["Authorization"].split("/")[0].split("=")[1])

    async def silent(self, _: web.Request) -> web.StreamResponse:
        self.bodies.append(b"silent")
        await asyncio.sleep(60)
        return web.Response()

    async def elsewhere(self, _: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect(PATH)

    async def hand_out(self, _: web.Request) -> web.StreamResponse:
        self.handed_out += 1
        await asyncio.sleep(self.pause)
        if self.given is None:
            raise web.HTTPInternalServerError
        key, expires_in = self.given
        secret = self.secrets[key]
        expires_at = (datetime.now(UTC) + expires_in).strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response(
            {
                "AccessKeyId": key,
                "SecretAccessKey": secret.key,
                "Token": secret.token,
                "Expiration": expires_at,
            }
        )


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncGenerator[Service]:
    service = Service()
    app = web.Application()
    app.router.add_route("*", PATH, service.ask)
    app.router.add_post("/silent", service.silent)
    app.router.add_post("/elsewhere", service.elsewhere)
    app.router.add_get("/credentials", service.hand_out)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        service.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
        yield service
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ordinary AWS settings of a test, whatever those of the machine are."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASTATIC")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "static")


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Service]:
    async with serving() as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
        yield service


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


@pytest.fixture
async def contained(
    service: Service, without_keys: None, monkeypatch: pytest.MonkeyPatch
) -> Service:
    """The service, asked by a process whose credentials its container hands out."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/credentials")
    return service


@asynccontextmanager
async def asking(*, timeout: float = 5.0) -> AsyncGenerator[Aws]:
    async with open_aws("sesv2", timeout=timeout, at_once=4) as aws:
        yield aws


async def key_of(aws: Aws) -> str:
    """Return the id of the key by which the service has known us."""
    answer = await aws.ask("POST", PATH, BODY)
    assert answer.status == 200, answer
    return answer.body.decode()


class TestSignatures:
    @pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", BODY)])
    async def test_aws_accepts_the_signature(
        self, service: Service, method: str, body: bytes | None
    ) -> None:
        async with asking() as aws:
            answer = await aws.ask(method, PATH, body)

        assert (answer.status, answer.body) == (200, b"AKIASTATIC")
        assert service.bodies == [body or b""]

    async def test_aws_accepts_the_signature_with_a_session_token(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service.secrets["AKIASTATIC"] = Secret("static", "a+/=token")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "a+/=token")
        async with asking() as aws:
            assert await key_of(aws) == "AKIASTATIC"

    async def test_aws_rejects_a_signature_with_another_secret(self, service: Service) -> None:
        service.secrets["AKIASTATIC"] = Secret("another")
        async with asking() as aws:
            answer = await aws.ask("POST", PATH, BODY)

        assert (answer.status, answer.headers["X-Amzn-ErrorType"]) == (403, "SignatureDoesNotMatch")

    @pytest.mark.parametrize("minutes", [-6, 6])
    async def test_aws_rejects_a_signature_from_a_wrong_clock(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, minutes: int
    ) -> None:
        def wrong() -> datetime:
            return datetime.now(UTC) + timedelta(minutes=minutes)

        monkeypatch.setattr(botocore.auth, "get_current_datetime", wrong)
        async with asking() as aws:
            answer = await aws.ask("POST", PATH, BODY)

        assert answer.headers["X-Amzn-ErrorType"] == "InvalidSignatureException"


class TestCredentials:
    async def test_they_are_renewed_before_they_expire_and_kept_until_then(
        self, contained: Service
    ) -> None:
        contained.gives("FIRST", expires_in=timedelta(minutes=5))
        async with asking() as aws:
            first = await key_of(aws)
            contained.gives("SECOND", expires_in=LONG)
            second = await key_of(aws)
            handed_out = contained.handed_out
            contained.gives("THIRD", expires_in=LONG)
            kept = await key_of(aws)

        assert (first, second, kept) == ("FIRST", "SECOND", "SECOND")
        assert contained.handed_out == handed_out

    async def test_while_they_are_good_and_cannot_be_renewed_they_are_used(
        self, contained: Service
    ) -> None:
        contained.gives("FIRST", expires_in=timedelta(minutes=14))
        async with asking() as aws:
            contained.given = None

            assert await key_of(aws) == "FIRST"

        assert contained.handed_out > 1

    async def test_when_they_cannot_be_renewed_any_more_it_is_an_outage_that_passes(
        self, contained: Service
    ) -> None:
        contained.gives("FIRST", expires_in=timedelta(minutes=5))
        async with asking() as aws:
            contained.given = None
            with pytest.raises(Unavailable, match="no credentials for sesv2: CredentialRetrieval"):
                await aws.ask("POST", PATH, BODY)
            asked = len(contained.bodies)
            contained.gives("SECOND", expires_in=LONG)

            assert (asked, await key_of(aws)) == (0, "SECOND")

    async def test_credentials_that_come_expired_are_an_outage(self, contained: Service) -> None:
        contained.gives("FIRST", expires_in=-timedelta(minutes=5))
        async with asking() as aws:
            with pytest.raises(Unavailable, match="still expired"):
                await aws.ask("POST", PATH, BODY)

    async def test_while_they_are_renewed_everything_else_goes_on(self, contained: Service) -> None:
        """What else the process does, and what is asked under the credentials that are good yet."""
        contained.gives("FIRST", expires_in=timedelta(minutes=14))
        async with asking() as aws:
            contained.gives("SECOND", expires_in=LONG)
            contained.pause = 1.0
            handed_out = contained.handed_out
            renewing = asyncio.create_task(key_of(aws))

            async def is_being_renewed() -> None:
                assert contained.handed_out > handed_out

            await eventually(is_being_renewed)
            meanwhile = await key_of(aws)

            assert (meanwhile, renewing.done()) == ("FIRST", False)
            assert await renewing == "SECOND"

    @pytest.mark.usefixtures("without_keys")
    async def test_they_may_be_provided_later(
        self, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "credentials"
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        async with asking() as aws:
            with pytest.raises(Unavailable, match="NoCredentials"):
                await aws.ask("POST", PATH, BODY)
            file.write_text(
                "[default]\naws_access_key_id = AKIASTATIC\naws_secret_access_key = static\n"
            )

            assert await key_of(aws) == "AKIASTATIC"


class TestTheWay:
    @pytest.mark.parametrize("end", ["", "/"])
    async def test_a_service_may_have_an_endpoint_of_its_own(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, end: str
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://nobody.invalid")
        monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", f"{service.url}{end}")
        async with asking() as aws:
            assert await key_of(aws) == "AKIASTATIC"

    async def test_it_leads_through_the_proxy_of_the_environment(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://ses.invalid")
        monkeypatch.setenv("http_proxy", service.url.removeprefix("http://"))
        monkeypatch.setenv("no_proxy", "example.com")
        async with asking() as aws:
            assert await key_of(aws) == "AKIASTATIC"

    async def test_it_leads_past_the_proxy_where_the_environment_says_so(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://nobody.invalid:3128")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with asking() as aws:
            assert await key_of(aws) == "AKIASTATIC"

    async def test_over_tls_it_needs_a_certificate_that_is_trusted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authority, chain = tmp_path / "authority.pem", tmp_path / "server.pem"
        make_certificates(authority, chain)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(chain)
        async with serving(tls) as service:
            monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
            async with asking() as aws:
                with pytest.raises(Unavailable, match="Certificate"):
                    await aws.ask("POST", PATH, BODY)
            monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
            async with asking() as aws:
                assert await key_of(aws) == "AKIASTATIC"

    async def test_no_request_is_sent_twice_and_no_redirect_is_followed(
        self, service: Service
    ) -> None:
        async with asking(timeout=0.5) as aws:
            with pytest.raises(TimedOut):
                await aws.ask("POST", "/silent", BODY)
            redirect = await aws.ask("POST", "/elsewhere", BODY)

        assert redirect.status == 307
        assert service.bodies == [b"silent"]
