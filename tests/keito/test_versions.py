from typing import Literal

import pytest

from keito_mcp.keito import Client, Connections, KeitoV1, KeitoV2, TimeEntryFilter, api_for
from tests.keito.v2_kit import KEY, SmallKeito


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("version", "kind", "path", "account"),
    [("v1", KeitoV1, "/v1/time-entries", None), ("v2", KeitoV2, "/api/v2/time_entries", "cmp_1")],
)
async def test_the_api_of_a_version_speaks_it(
    small: SmallKeito, version: Literal["v1", "v2"], kind: type[object], path: str, account: str | None
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
    v1, v2 = (api_for("v1", client).traits, api_for("v2", client).traits)
    assert not any((v1.requires_task, v1.computes_hours, v1.one_timer_per_user, v1.lists_projects))
    assert all((v2.requires_task, v2.computes_hours, v2.one_timer_per_user, v2.lists_projects))
