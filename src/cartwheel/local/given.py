"""Checks the settings in the environment before anything is installed or started.

The servers that it names must be up. Otherwise the start would wait for a minute, and give a less
helpful error.
"""

from collections.abc import Coroutine, Mapping
from pkgutil import resolve_name
from typing import Any

import aiohttp
import msgspec

from cartwheel.kernel.servers import (
    CHECK_SECONDS,
    Unusable,
    check_mongodb,
    check_rabbitmq,
    shown,
    why,
)
from cartwheel.kernel.settings import AmqpClient, HttpUrl, ManagementUrls, check
from cartwheel.local.console import Console
from cartwheel.local.dependencies import given_aws, given_databases, is_aws_given, side_by_side
from cartwheel.local.processes import PROCESSES
from cartwheel.services import DATABASES


class _OtherSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that no process reads, but a library or `cartwheel setup`."""

    aws_endpoint_url: HttpUrl | None = None
    rabbitmq_management_url: ManagementUrls | None = None


def check_settings(environment: Mapping[str, str]) -> None:
    """Check that the settings in `environment` have the form that the processes expect.

    Raises:
        BadSettings: some are malformed.
    """
    kinds = [_OtherSettings, *(resolve_name(each.settings) for each in PROCESSES)]
    check(kinds, environment, databases=DATABASES)


async def check_servers(environment: Mapping[str, str], console: Console) -> None:
    """Check that all servers in `environment` can be used. Its settings must be well-formed.

    Raises:
        packages.Missing: only some variables of AWS are set.
        Unusable: a server cannot be used.
    """
    checks: list[Coroutine[Any, Any, None]] = []
    uris = given_databases(environment)
    # If each service has its own database server, MONGODB_URI is not used.
    if len(uris) < len(DATABASES) and (uri := environment.get("MONGODB_URI")):
        uris["MONGODB_URI"] = uri
    checks.extend(check_mongodb(uri, variable) for variable, uri in uris.items())
    if url := environment.get("RABBITMQ_URL"):
        client = msgspec.convert(environment.get("AMQP_CLIENT") or "built-in", AmqpClient)
        checks.append(check_rabbitmq(url, client))
    if is_aws_given(environment):
        named = environment.get("COGNITO_JWKS_URL")
        variable = "COGNITO_JWKS_URL" if named else "COGNITO_USER_POOL_ID"
        keys = given_aws(environment)["COGNITO_JWKS_URL"]
        checks.append(check_http(variable, keys, ok_only=True))
    if endpoint := environment.get("AWS_ENDPOINT_URL"):
        checks.append(check_http("AWS_ENDPOINT_URL", endpoint))
    # If its port is set, too, the URL means the simulator that is started here later.
    if (simulator := environment.get("SIMULATOR_URL")) and not environment.get("SIMULATOR_PORT"):
        checks.append(check_http("SIMULATOR_URL", simulator))
    if checks:
        with console.doing("checking the servers that the environment names"):
            await side_by_side(checks)


async def check_http(variable: str, url: str, *, ok_only: bool = False) -> None:
    """Check that a server answers at `url`: with any status, or with `ok_only` successfully.

    Raises:
        Unusable: it does not.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CHECK_SECONDS)) as session,
            session.get(url, raise_for_status=ok_only),
        ):
            pass
    except aiohttp.ClientResponseError as error:
        sentence = f"{variable} points to {shown(url)}, which answers {error.status}"
        raise Unusable(sentence) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unusable(why(variable, url, error)) from error
