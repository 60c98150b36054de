"""Who reads the catalogue: everybody, or only those who have logged in."""

from collections.abc import Mapping

import pytest

from cartwheel.gateway.settings import Settings
from cartwheel.kernel.settings import BadSettings, read
from cartwheel.local.demo_users import ADMIN
from cartwheel.local.demo_users import PASSWORD as ADMINS_PASSWORD

from .accounts import log_in
from .conftest import ELSEWHERE, gateway_of

CATALOGUE = ("/api/v1/products", "/api/v1/products/prd_1")


@pytest.mark.parametrize(("setting", "is_asked"), [("private", False), ("public", True)])
async def test_only_a_public_catalogue_is_read_without_a_token(
    aws: Mapping[str, str], setting: str, *, is_asked: bool
) -> None:
    async with gateway_of({**aws, "CATALOGUE": setting}) as gateway:
        document = (await gateway.get("/api/openapi.json")).json
        token = (await log_in(gateway, ADMIN, ADMINS_PASSWORD)).json["access_token"]
        for path in CATALOGUE:
            # Whoever gets past the gateway is answered 500, as no service is asked in this test.
            assert (await gateway.get(path)).status == (500 if is_asked else 401)
            assert (await gateway.call("HEAD", path)).status == (500 if is_asked else 401)
            assert (await gateway.get(path, "a.b.c")).status == 401
            assert (await gateway.get(path, token)).status == 500
        assert (await gateway.post(CATALOGUE[0], {"name": "Mug"})).status == 401
        assert (await gateway.call("DELETE", CATALOGUE[1])).status == 401

    described = document["paths"]["/products"]["get"].get("security", document["security"])
    assert ({} in described) == is_asked


def test_a_catalogue_that_is_neither_stops_the_start(aws: Mapping[str, str]) -> None:
    with pytest.raises(BadSettings) as bad:
        read(Settings, {**aws, **ELSEWHERE, "CATALOGUE": "open"})

    [line] = str(bad.value).splitlines()
    assert "CATALOGUE" in line
    assert "public or private" in line
