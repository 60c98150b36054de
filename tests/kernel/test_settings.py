"""Settings name what is missing or malformed, and never show a value."""

from pkgutil import resolve_name
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from cartwheel.kernel.settings import (
    AmqpUrl,
    BadSettings,
    HttpUrl,
    LogLevel,
    MongodbUri,
    check,
    read,
)
from cartwheel.local.processes import PROCESSES


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    api_key: str
    port: int = 8000


def test_settings_are_read_and_defaults_kept() -> None:
    assert read(Settings, {"API_KEY": "k", "OTHER": "x"}) == Settings(api_key="k", port=8000)
    assert read(Settings, {"API_KEY": "k", "PORT": "9"}).port == 9


def test_all_bad_settings_are_named_at_once_without_their_values() -> None:
    with pytest.raises(BadSettings) as bad:
        read(Settings, {"PORT": "s3cret"})
    assert "API_KEY is not set" in str(bad.value)
    assert "PORT is malformed" in str(bad.value)
    assert "s3cret" not in str(bad.value)


def test_an_empty_variable_counts_as_not_set() -> None:
    with pytest.raises(BadSettings, match="API_KEY is not set"):
        read(Settings, {"API_KEY": ""})


class Forms(msgspec.Struct, frozen=True, kw_only=True):
    mongodb_uri: MongodbUri = ""
    rabbitmq_url: AmqpUrl | None = None
    simulator_url: HttpUrl = ""
    log_level: LogLevel = "INFO"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MONGODB_URI", "mongodb://127.0.0.1:27017"),
        ("MONGODB_URI", "mongodb://u:p%2F@a.example:1,b:2,[::1]:3/admin?replicaSet=r&w=1"),
        ("MONGODB_URI", "mongodb+srv://u:p@cluster.example/?retryWrites=true"),
        ("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/"),
        ("RABBITMQ_URL", "amqps://u:p@host/%2Fvhost?heartbeat=5"),
        ("RABBITMQ_URL", "amqp://u:p@one:5672/shop,amqps://u:p%2C@two/,amqp://three"),
        ("SIMULATOR_URL", "http://127.0.0.1:8900"),
        ("SIMULATOR_URL", "https://host/path?x=1"),
        ("LOG_LEVEL", "DEBUG"),
    ],
)
def test_a_well_formed_setting_is_accepted(variable: str, value: str) -> None:
    assert getattr(read(Forms, {variable: value}), variable.lower()) == value


def refusal(kind: type[msgspec.Struct], environment: dict[str, str]) -> str:
    """Return the error message if `environment` does not fit `kind`."""
    with pytest.raises(BadSettings) as bad:
        read(kind, environment)
    return str(bad.value)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("MONGODB_URI", "s3cret", "mongodb://"),
        ("MONGODB_URI", "mongodb://", "mongodb://"),
        ("MONGODB_URI", "mongodb://host:s3cret/", "mongodb://"),
        ("MONGODB_URI", "mongodb://u:12/s3cret@host/", "percent-encoded"),
        ("RABBITMQ_URL", "http://u:s3cret@host", "amqp://"),
        ("RABBITMQ_URL", "amqp://u:s3cret", "amqp://"),
        ("RABBITMQ_URL", "amqp://u:s3cret@one/,two:5672/", "amqp://"),
        ("RABBITMQ_URL", "amqp://u:s3cret@one/,", "amqp://"),
        ("RABBITMQ_URL", "amqp://u:12?s3cret@host/", "percent-encoded"),
        ("RABBITMQ_URL", "amqp://u:s3cret@host/\n", "amqp://"),
        ("SIMULATOR_URL", "s3cret:8900", "http://HOST:PORT"),
        ("LOG_LEVEL", "s3cret", "DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    ],
)
def test_a_malformed_setting_is_one_sentence_that_says_what_is_expected(
    variable: str, value: str, expected: str
) -> None:
    sentence = refusal(Forms, {variable: value})

    assert sentence.startswith(f"{variable} is malformed: expected ")
    assert expected in sentence
    assert "s3cret" not in sentence
    assert "\n" not in sentence


class Kinds(msgspec.Struct, frozen=True, kw_only=True):
    any_number: int = 1
    positive: Annotated[int, Meta(ge=1)] | None = None
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8000
    switch: bool = False


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ANY_NUMBER", "x", "a whole number"),
        ("POSITIVE", "0", "a whole number, 1 or more"),
        ("PORT", "80000", "a whole number from 1 to 65535"),
        ("SWITCH", "maybe", "true or false"),
    ],
)
def test_numbers_and_switches_are_asked_for_in_plain_words(
    variable: str, value: str, expected: str
) -> None:
    assert refusal(Kinds, {variable: value}) == f"{variable} is malformed: expected {expected}"


@pytest.mark.parametrize("process", [each.name for each in PROCESSES])
def test_every_processs_settings_say_in_plain_words_what_they_expect(process: str) -> None:
    (kind,) = [resolve_name(each.settings) for each in PROCESSES if each.name == process]
    everything = {field.name.upper(): "\n?" for field in msgspec.structs.fields(kind)}

    with pytest.raises(BadSettings) as bad:
        read(kind, everything)

    for sentence in str(bad.value).splitlines():
        assert " is malformed: expected " in sentence
        assert "`" not in sentence


def test_settings_of_several_processes_are_checked_together_and_reported_once() -> None:
    given = {"PORT": "x", "LOG_LEVEL": "x", "UNRELATED": "x"}  # and no API_KEY

    with pytest.raises(BadSettings) as bad:
        check([Settings, Settings, Forms], given)

    assert sorted(line.split()[0] for line in str(bad.value).splitlines()) == ["LOG_LEVEL", "PORT"]
