"""Calls an AWS service over plain HTTP. botocore signs each request.

aiobotocore provides the configuration: the standard AWS settings name region, endpoint,
certificates and proxy, and credentials are renewed before they expire. Its own client would cost
three times the CPU (ADR 18).
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
    """One AWS service. `signs_as` is its name in signatures: "ses" for "sesv2"."""

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
        """Send one request and return the answer, whatever its status. `body` is JSON.

        Raises:
            Unavailable: there are no credentials or no connection. The request was not sent.
            TimedOut, OutcomeUnknown: the request was sent and may have been carried out.
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
            dependency=self._service,
        )

    async def _frozen(self) -> Any:
        """Return the current credentials; renew them if they are about to expire.

        If none were found, look again: an operator may have provided them since.
        """
        try:
            found = await self._credentials.get_credentials()
            if found is None:
                raise NoCredentialsError
            return await found.get_frozen_credentials()
        except Exception as error:
            # A file, a role or a metadata service failed: that is an outage, not a bad request.
            raise Unavailable(f"no credentials for {self._service}: {error!r}") from error


_JSON = "application/json"


@asynccontextmanager
async def open_aws(service: str, *, timeout: float, at_once: int) -> AsyncGenerator[Aws]:
    """Yield the service that boto calls `service`, configured by the standard AWS settings.

    `timeout` is the limit in seconds for connecting, and for each read. At most `at_once` requests
    run at a time. Opening blocks for 200 ms, while botocore reads its models.
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
