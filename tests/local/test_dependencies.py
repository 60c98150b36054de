"""MongoDB, RabbitMQ and the AWS emulator, provided if the environment names none."""

import asyncio
import re
import secrets
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import jwt
import psutil
import pytest
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError
from pymongo import AsyncMongoClient

from cartwheel.contracts.identity import EMAIL_MARK, email_mark
from cartwheel.local import emulated_aws, instance, leftovers, mongod
from cartwheel.local.commands import show
from cartwheel.local.console import QUIET
from cartwheel.local.demo_users import RESET_CODE, SIGN_UP_CODE
from cartwheel.local.processes import Process
from cartwheel.local.supervisor import CannotStart, supervising
from cartwheel.local.up import System, running

Document = dict[str, Any]


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[System]:
    """MongoDB, RabbitMQ and the AWS emulator, as `make up` provides them."""
    home = tmp_path_factory.mktemp("instance")
    async with running(home, given={}, processes=(), setup=()) as system:
        yield system


async def test_mongodb_has_transactions(system: System) -> None:
    async with AsyncMongoClient[Document](system.environment["MONGODB_URI"]) as client:
        async with client.start_session() as session, await session.start_transaction():
            await client["try"]["things"].insert_one({"_id": "one"}, session=session)

        assert await client["try"]["things"].find_one() == {"_id": "one"}


async def test_everything_listens_on_this_machine_only(system: System) -> None:
    listening = [
        (process.name(), connection.laddr.ip)
        for process in leftovers.find(system.supervisor.home)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert {name for name, _ in listening} >= {"mongod", "beam.smp", "epmd"}
    assert {address for _, address in listening} <= {"127.0.0.1", "::1"}


async def test_confirmed_data_survives_a_kill_of_mongodb_and_rabbitmq(system: System) -> None:
    async with AsyncMongoClient[Document](system.environment["MONGODB_URI"]) as client:
        await client["try"]["kept"].insert_one({"_id": "kept"})
    await _declare(system)
    await asyncio.sleep(2.5)  # RabbitMQ writes declarations, unlike messages, up to 2 s late
    await _publish(system, "kept")

    await system.supervisor.kill("mongod")
    await system.supervisor.kill("rabbitmq")
    await system.supervisor.ready("mongod", "rabbitmq")

    async with AsyncMongoClient[Document](system.environment["MONGODB_URI"]) as client:
        assert await client["try"]["kept"].find_one() == {"_id": "kept"}
    assert await _take(system) == "kept"


async def test_demo_users_log_in_and_the_admin_is_an_admin(system: System) -> None:
    async with _aws(system, "cognito-idp") as cognito:
        groups = {email: await _groups(cognito, system, email) for email in emulated_aws.DEMO_USERS}

    assert groups == {emulated_aws.ADMIN: ["admin"], emulated_aws.CUSTOMER: None}


async def test_the_start_shows_the_codes_that_the_emulator_mails(
    system: System, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    email = f"ada.{secrets.token_hex(6)}@example.com"
    user = {"ClientId": system.environment["COGNITO_CLIENT_ID"], "Username": email}
    named = [{"Name": "email", "Value": email}]
    async with _aws(system, "cognito-idp") as cognito:
        await cognito.sign_up(**user, Password=emulated_aws.PASSWORD, UserAttributes=named)
        await cognito.confirm_sign_up(**user, ConfirmationCode=SIGN_UP_CODE)
        await cognito.forgot_password(**user)

    to_sign_up, for_a_new_password = [
        re.findall("[0-9]{6}", text) for text in await _mailed(system, email)
    ]
    show(system, system.supervisor.home)

    assert (to_sign_up, for_a_new_password) == ([SIGN_UP_CODE], [RESET_CODE])
    assert f"{SIGN_UP_CODE} to sign up, {RESET_CODE} for a new password" in capsys.readouterr().out


async def test_only_the_shops_address_may_send_mail(system: System) -> None:
    async with _aws(system, "sesv2") as ses:
        sent = await _send(ses, system.environment["SES_SENDER"])
        with pytest.raises(ClientError, match="not verified"):
            await _send(ses, "mallory@example.com")

    assert sent["MessageId"]


async def test_users_keep_their_ids_after_a_kill_of_the_emulator(
    system: System,
) -> None:
    await system.supervisor.kill("ministack")
    await system.supervisor.ready("ministack")

    values, changed = await _prepare(system)
    assert not changed
    assert system.environment.items() >= values.items()
    await emulated_aws.check_tokens(system.environment)


async def test_users_of_an_older_folder_count_as_verified_once(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulated_aws, "POOL", "older")
    emails = [emulated_aws.ADMIN, *(f"number-{number}@example.com" for number in range(65))]
    async with _aws(system, "cognito-idp") as cognito:
        made = await cognito.create_user_pool(PoolName="older", UsernameAttributes=["email"])
        pool = made["UserPool"]["Id"]
        await cognito.create_group(UserPoolId=pool, GroupName="admin")
        for email in emails:
            attributes = [{"Name": "email", "Value": email}]
            await cognito.admin_create_user(
                UserPoolId=pool, Username=email, UserAttributes=attributes
            )

        assert (await _prepare(system))[1]
        verified = await _verified(cognito, system, pool)
        await cognito.admin_update_user_attributes(
            UserPoolId=pool,
            Username=emails[-1],
            UserAttributes=[{"Name": "email", "Value": "elsewhere@example.com"}],
        )
        assert not (await _prepare(system))[1]
        later = await _verified(cognito, system, pool)

    assert verified == {*emails, emulated_aws.CUSTOMER}
    assert later == verified - {emails[-1]}


async def test_an_emulator_whose_tokens_do_not_verify_is_refused(system: System) -> None:
    elsewhere = {**system.environment, "COGNITO_ISSUER": "https://example.com/another"}

    with pytest.raises(emulated_aws.Unfit, match="do not verify"):
        await emulated_aws.check_tokens(elsewhere)


async def test_mongodb_finds_its_data_after_its_port_was_taken(
    tmp_path: Path,
) -> None:
    async with supervising(tmp_path, QUIET) as supervisor:
        first = await mongod.provide(supervisor)
        async with AsyncMongoClient[Document](first["MONGODB_URI"]) as client:
            await client["try"]["things"].insert_one({"_id": "one"})

    with socket.create_server(("127.0.0.1", instance.port(tmp_path, "mongod"))):
        instance.port(tmp_path, "mongod")
    async with supervising(tmp_path, QUIET) as supervisor:
        second = await mongod.provide(supervisor)
        async with AsyncMongoClient[Document](second["MONGODB_URI"]) as client:
            found = await client["try"]["things"].find_one()

    assert second != first
    assert found == {"_id": "one"}


async def test_given_servers_are_used_and_a_failing_setup_is_shown(
    system: System, tmp_path: Path, process: Callable[..., Process], argv: Callable[..., Any]
) -> None:
    with pytest.raises(CannotStart, match=r"setup ended with status 3.*\n.*no such table"):
        async with running(
            tmp_path,
            given=system.environment,
            processes=(process("good"),),
            setup=argv("failing"),
        ):
            pass

    assert [log.name for log in (tmp_path / "logs").iterdir()] == ["setup.log"]


async def _declare(system: System) -> None:
    connection = await aio_pika.connect(system.environment["RABBITMQ_URL"])
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})


async def _publish(system: System, body: str) -> None:
    connection = await aio_pika.connect(system.environment["RABBITMQ_URL"])
    async with connection:
        channel = await connection.channel()
        message = aio_pika.Message(body.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key="kept")


async def _take(system: System) -> str:
    connection = await aio_pika.connect(system.environment["RABBITMQ_URL"])
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        async with asyncio.timeout(30):
            return (await queue.get(no_ack=True)).body.decode()


async def _prepare(system: System) -> tuple[dict[str, str], bool]:
    return await emulated_aws.prepare(
        system.environment["AWS_ENDPOINT_URL"], system.environment["EMULATED_COGNITO_KEY"]
    )


async def _verified(cognito: Any, system: System, pool: str) -> set[str]:
    """Return the addresses of users in `pool` that have the right mark."""
    key = system.environment["EMULATED_COGNITO_KEY"]
    users: list[dict[str, str]] = []
    async for page in cognito.get_paginator("list_users").paginate(UserPoolId=pool):
        for user in page["Users"]:
            users.append({each["Name"]: each["Value"] for each in user["Attributes"]})
    return {
        user["email"] for user in users if user.get(EMAIL_MARK) == email_mark(key, user["email"])
    }


@asynccontextmanager
async def _aws(system: System, service: str) -> AsyncGenerator[Any]:
    session: Any = AioSession()
    async with session.create_client(
        service,
        region_name=system.environment["AWS_DEFAULT_REGION"],
        endpoint_url=system.environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=system.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=system.environment["AWS_SECRET_ACCESS_KEY"],
    ) as client:
        yield client


async def _mailed(system: System, to: str) -> list[str]:
    """Return the texts that the emulator has mailed to this address, oldest first."""
    async with (
        aiohttp.ClientSession(system.environment["AWS_ENDPOINT_URL"]) as http,
        http.get("/_ministack/ses/messages") as response,
    ):
        accounts: dict[str, list[Any]] = (await response.json())["messages"]
    return [
        message["BodyText"]
        for messages in accounts.values()
        for message in messages
        if to in message["To"]
    ]


async def _groups(cognito: Any, system: System, email: str) -> list[str] | None:
    answer = await cognito.initiate_auth(
        ClientId=system.environment["COGNITO_CLIENT_ID"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": email, "PASSWORD": emulated_aws.PASSWORD},
    )
    token = answer["AuthenticationResult"]["AccessToken"]
    return jwt.decode(token, options={"verify_signature": False}).get("cognito:groups")


async def _send(ses: Any, sender: str) -> Any:
    return await ses.send_email(
        FromEmailAddress=sender,
        Destination={"ToAddresses": ["somebody@example.com"]},
        Content={
            "Simple": {"Subject": {"Data": "Hello"}, "Body": {"Text": {"Data": "Hello"}}},
        },
    )
