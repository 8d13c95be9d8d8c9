import pytest

from keito_mcp.keito import (
    DEFAULT_URLS,
    Client,
    Connections,
    KeitoV1,
    KeitoV2,
    TimeEntryFilter,
    Version,
    api_for,
    version_of,
)
from tests.keito.v2_kit import KEY, SmallKeito


@pytest.mark.parametrize(
    ("api_key", "configured", "version", "reason"),
    [
        ("kto_abc", None, "v2", "the key begins with kto_"),
        ("keito_sk_abc", None, "v1", "the key begins with keito_sk_"),
        ("another", None, "v1", "nothing says otherwise"),
        ("", None, "v1", "nothing says otherwise"),
        (None, None, "v1", "nothing says otherwise"),
        ("KTO_abc", None, "v1", "nothing says otherwise"),
        ("kto_abc", "v1", "v1", "KEITO_API_VERSION says so"),
        ("keito_sk_abc", " V2 ", "v2", "KEITO_API_VERSION says so"),
        (None, "2", "v2", "KEITO_API_VERSION says so"),
        (None, "1", "v1", "KEITO_API_VERSION says so"),
    ],
)
def test_the_version_is_the_configured_one_else_the_keys(
    api_key: str | None, configured: str | None, version: str, reason: str
) -> None:
    chosen = version_of(api_key, configured)
    assert (chosen.version, chosen.reason) == (version, reason)


@pytest.mark.parametrize("configured", ["v3", "", "v", "2.0"])
def test_a_version_that_does_not_exist_is_refused_by_the_name_of_its_setting(configured: str) -> None:
    with pytest.raises(ValueError, match="KEITO_API_VERSION must be v1 or v2"):
        version_of("kto_abc", configured)


def test_each_version_has_its_address() -> None:
    assert DEFAULT_URLS == {"v1": "https://api.keito.ai", "v2": "https://app.keito.ai"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("version", "kind", "path", "account"),
    [("v1", KeitoV1, "/v1/time-entries", None), ("v2", KeitoV2, "/api/v2/time_entries", "cmp_1")],
)
async def test_the_api_of_a_version_speaks_it(
    small: SmallKeito, version: Version, kind: type[object], path: str, account: str | None
) -> None:
    client = Client("http://small.keito", KEY, Connections(app=small.app))
    api = api_for(version, client, account_id="cmp_1")
    small.says({"data": [], "time_entries": []})
    assert (await api.list(TimeEntryFilter())).data == []
    await client.aclose()
    assert isinstance(api, kind)
    assert small.sent == [("GET", path)]
    assert small.requests[0].headers.get("keito-account-id") == account


def test_the_versions_differ_in_what_matters_to_those_who_track_time() -> None:
    client = Client("http://small.keito", KEY)
    v1, v2 = (api_for(version, client).traits for version in ("v1", "v2"))
    assert not any((v1.requires_task, v1.computes_hours, v1.one_timer_per_user, v1.lists_projects))
    assert all((v2.requires_task, v2.computes_hours, v2.one_timer_per_user, v2.lists_projects))
