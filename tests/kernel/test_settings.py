"""Settings name what is missing or malformed, and never show a value."""

import msgspec
import pytest

from cartwheel.kernel.settings import BadSettings, read


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    api_key: str
    port: int = 8000


def test_settings_are_read_and_defaults_kept() -> None:
    assert read(Settings, {"API_KEY": "k", "OTHER": "x"}) == Settings(api_key="k", port=8000)
    assert read(Settings, {"API_KEY": "k", "PORT": "9"}).port == 9


def test_every_fault_is_named_at_once_without_its_value() -> None:
    with pytest.raises(BadSettings) as bad:
        read(Settings, {"PORT": "s3cret"})
    assert "API_KEY is not set" in str(bad.value)
    assert "PORT is malformed" in str(bad.value)
    assert "s3cret" not in str(bad.value)


def test_an_empty_variable_counts_as_not_set() -> None:
    with pytest.raises(BadSettings, match="API_KEY is not set"):
        read(Settings, {"API_KEY": ""})
