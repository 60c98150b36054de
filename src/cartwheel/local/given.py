"""What the environment gives is checked before anything is installed or started.

A server that it names has to be there: a start that waits for one in vain takes a minute, and says
less.
"""

from collections.abc import Coroutine, Mapping
from typing import Annotated, Any

import aiohttp
import msgspec
from msgspec import Meta

from cartwheel.kernel.servers import LIMIT, Unusable, check_mongodb, check_rabbitmq, shown, why
from cartwheel.kernel.settings import AmqpUrl, HttpUrl, LogLevel, MongodbUri, read
from cartwheel.local.console import Console
from cartwheel.local.parts import given_aws, is_aws_given, side_by_side


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What may be given; whatever is not stands in for itself."""

    log_level: LogLevel | None = None
    mongodb_uri: MongodbUri | None = None
    rabbitmq_url: AmqpUrl | None = None
    cognito_issuer: HttpUrl | None = None
    cognito_jwks_url: HttpUrl | None = None
    aws_endpoint_url: HttpUrl | None = None
    simulator_url: HttpUrl | None = None
    simulator_port: Annotated[int, Meta(ge=0, le=65_535)] | None = None


def settings(environment: Mapping[str, str]) -> Given:
    """Return what `environment` gives.

    Raises:
        BadSettings: some of it is malformed.
    """
    return read(Given, environment)


async def check_servers(environment: Mapping[str, str], console: Console) -> None:
    """Return if all servers that `environment` names can be used.

    Raises:
        BadSettings: one is malformed.
        packages.Missing: only a part of AWS is named.
        Unusable: one cannot be used.
    """
    given = settings(environment)
    checks: list[Coroutine[Any, Any, None]] = []
    if given.mongodb_uri:
        checks.append(check_mongodb(given.mongodb_uri))
    if given.rabbitmq_url:
        checks.append(check_rabbitmq(given.rabbitmq_url))
    if is_aws_given(environment):
        variable = "COGNITO_JWKS_URL" if given.cognito_jwks_url else "COGNITO_USER_POOL_ID"
        keys = given_aws(environment)["COGNITO_JWKS_URL"]
        checks.append(check_http(variable, keys, ok_only=True))
    if given.aws_endpoint_url:
        checks.append(check_http("AWS_ENDPOINT_URL", given.aws_endpoint_url))
    # Beside its port it means the simulator that is still to be started.
    if given.simulator_url and given.simulator_port is None:
        checks.append(check_http("SIMULATOR_URL", given.simulator_url))
    if checks:
        with console.doing("checking the servers that the environment names"):
            await side_by_side(checks)


async def check_http(variable: str, url: str, *, ok_only: bool = False) -> None:
    """Return if a server answers at `url`: anything, or with `ok_only` what was asked for.

    Raises:
        Unusable: it does not.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT)) as session,
            session.get(url, raise_for_status=ok_only),
        ):
            pass
    except aiohttp.ClientResponseError as error:
        sentence = f"{variable} points to {shown(url)}, which answers {error.status}"
        raise Unusable(sentence) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unusable(why(variable, url, error)) from error
