"""Cartwheel's dependencies: each is the one that the environment names, or is provided.

| dependency   | given by                | otherwise              |
|--------------|-------------------------|------------------------|
| MongoDB      | MONGODB_URI, or each    | a private mongod       |
|              | service's own           |                        |
| RabbitMQ     | RABBITMQ_URL            | a private node         |
| Cognito, SES | COGNITO_USER_POOL_ID, … | the emulator MiniStack |
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from cartwheel.kernel.settings import own_mongodb_uri
from cartwheel.local import ministack, mongod, packages, rabbitmq
from cartwheel.local.supervisor import Supervisor
from cartwheel.services import DATABASES

Result = TypeVar("Result")
Provider = Callable[[Supervisor], Coroutine[Any, Any, dict[str, str]]]

AWS = (
    "COGNITO_USER_POOL_ID",
    "COGNITO_CLIENT_ID",
    "SES_SENDER",
    "COGNITO_CLIENT_SECRET",
    "COGNITO_ISSUER",
    "COGNITO_JWKS_URL",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "EMULATED_COGNITO_KEY",
)
_NEEDED_OF_AWS = AWS[:3]


async def start_dependencies(supervisor: Supervisor, given: Mapping[str, str]) -> dict[str, str]:
    """Start, concurrently, what `given` does not name; return the variables for all dependencies.

    Raises:
        packages.Missing: something has to be installed or set first.
        CannotStart: a dependency does not start.
        Unfit: the emulator's tokens do not verify.
    """
    values = given_databases(given)
    each_has_its_own = len(values) == len(DATABASES)
    needed: dict[str, str] = {}
    providers: list[Provider] = []
    for variable, part in (("MONGODB_URI", mongod), ("RABBITMQ_URL", rabbitmq)):
        if given.get(variable):
            values[variable] = given[variable]
        elif not (part is mongod and each_has_its_own):
            with supervisor.console.doing(f"looking for {part.PROGRAM}"):
                needed |= await asyncio.to_thread(part.missing_packages)
            providers.append(part.provide)
    if is_aws_given(given):
        values |= given_aws(given)
    else:
        providers.append(ministack.provide)
        # The emulator names a rate, as AWS does, but takes mail as fast as it comes.
        values["SES_MAX_SEND_RATE"] = given.get("SES_MAX_SEND_RATE") or "0"
    if needed:
        await asyncio.to_thread(packages.install, needed, supervisor.console)
    for provided in await side_by_side(provide(supervisor) for provide in providers):
        values |= provided
    return values


def given_databases(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that name one service's own database server (ORDERS_MONGODB_URI)."""
    variables = map(own_mongodb_uri, DATABASES)
    return {variable: given[variable] for variable in variables if given.get(variable)}


def is_aws_given(given: Mapping[str, str]) -> bool:
    """Return whether the environment names an AWS account, or some of its variables."""
    return any(given.get(variable) for variable in AWS[:7])


def given_aws(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the AWS account in the environment. Credentials stay where they are.

    Raises:
        packages.Missing: only some of the variables are set.
    """
    missing = [variable for variable in _NEEDED_OF_AWS if not given.get(variable)]
    if missing:
        raise packages.Missing(f"Also set {', '.join(missing)}, or nothing about AWS at all")
    pool = given["COGNITO_USER_POOL_ID"]
    region = pool.partition("_")[0]
    issuer = f"https://cognito-idp.{region}.amazonaws.com/{pool}"
    defaults = {
        "AWS_DEFAULT_REGION": region,
        "COGNITO_ISSUER": issuer,
        "COGNITO_JWKS_URL": f"{issuer}/.well-known/jwks.json",
    }
    return defaults | {variable: given[variable] for variable in AWS if given.get(variable)}


async def side_by_side(work: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Do all `work` concurrently and return the results. The first failure cancels the rest."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
