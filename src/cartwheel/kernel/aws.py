"""Asking a service of AWS over plain HTTP, each request signed by botocore's own signer.

aiobotocore says what to ask and as whom: the ordinary AWS settings name region, endpoint,
certificates and proxy, and credentials are renewed before they expire. Its client would do the
rest too, at three times the CPU (ADR 18).
"""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiobotocore.session import AioSession
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError
from botocore.httpsession import (
    ProxyConfiguration,
    get_cert_path,  # pyright: ignore[reportUnknownVariableType] because botocore has no types
)
from botocore.utils import (
    get_environ_proxies,  # pyright: ignore[reportUnknownVariableType]
)

from cartwheel.kernel import http_client
from cartwheel.kernel.errors import Unavailable
from cartwheel.kernel.http_client import Answer


class Aws:
    """One service of AWS. `signs_as` is the service's name in a signature: "ses" of "sesv2"."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        credentials: AioSession,
        *,
        service: str,
        url: str,
        region: str,
        signs_as: str,
    ) -> None:
        self._http = http
        self._credentials: Any = credentials
        self._service = service
        self._url = url
        self._region = region
        self._signs_as = signs_as

    async def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Ask once, and return the answer, whatever it says. `body` is JSON.

        Raises:
            Unavailable: there are no credentials, or no connection; the service was not asked.
            TimedOut, OutcomeUnknown: the service was asked, and may have done it.
        """
        request: Any = AWSRequest(method, self._url + path, {"Content-Type": _JSON}, body)
        signer: Any = SigV4Auth(await self._frozen(), self._signs_as, self._region)
        signer.add_auth(request)
        return await http_client.exchange(
            self._http.request(
                method,
                request.url,
                data=body,
                headers=request.headers.items(),
                allow_redirects=False,  # a signature is for one URL
            ),
            part=self._service,
        )

    async def _frozen(self) -> Any:
        """Return the credentials of this moment; renew them if they are about to expire.

        Where none were found they are looked for again, so that somebody may still provide them.
        """
        try:
            found = await self._credentials.get_credentials()
            if found is None:
                raise NoCredentialsError
            return await found.get_frozen_credentials()
        except Exception as error:
            # A file, a role, or whoever hands them out: never the fault of what is asked.
            raise Unavailable(f"no credentials for {self._service}: {error!r}") from error


_JSON = "application/json"


@asynccontextmanager
async def open_aws(service: str, *, timeout: float, at_once: int) -> AsyncGenerator[Aws]:
    """Yield `service`, under boto's name for it, as the ordinary AWS settings have it.

    `timeout` are the seconds to connect, and as many to wait for each piece of an answer. More
    than `at_once` requests wait for each other. Blocks for 200 ms: botocore reads its models.
    """
    session: Any = AioSession()
    async with session.create_client(service) as client:
        url: str = client.meta.endpoint_url.rstrip("/")
        region: str = client.meta.region_name
        signs_as: str = client.meta.service_model.signing_name
    certificates: Any = get_cert_path(session.get_config_variable("ca_bundle") or True)
    proxies: Any = ProxyConfiguration(get_environ_proxies(url))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=at_once, ssl=ssl.create_default_context(cafile=certificates)
        ),
        proxy=proxies.proxy_url_for(url),
        timeout=aiohttp.ClientTimeout(sock_connect=timeout, sock_read=timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as http:
        yield Aws(http, session, service=service, url=url, region=region, signs_as=signs_as)
