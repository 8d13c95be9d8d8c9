"""POST /v1/time-entries."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from keito_mcp.sandbox import Store

pytestmark = pytest.mark.anyio

PATH = "/v1/time-entries"
MINIMAL: dict[str, Any] = {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1.5}


def error_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    assert error["message"]
    return answer.status_code, error["code"], error.get("field")


async def test_the_least_that_is_required_gets_the_documented_defaults(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json=MINIMAL)

    assert answer.status_code == 201
    entry = answer.json()
    assert entry["id"].startswith("te_")
    assert {key: entry[key] for key in ("task_id", "notes", "metadata")} == {
        "task_id": None,
        "notes": None,
        "metadata": None,
    }
    assert (entry["is_running"], entry["is_billable"], entry["source"]) == (False, True, "api")
    assert entry == (await client.get(f"{PATH}/{entry['id']}")).json()


@pytest.mark.parametrize("field", ["project_id", "spent_date", "hours"])
async def test_a_required_field_that_is_missing_is_named(client: httpx.AsyncClient, store: Store, field: str) -> None:
    answer = await client.post(PATH, json={k: v for k, v in MINIMAL.items() if k != field})

    assert error_of(answer) == (422, "validation_error", field)
    assert answer.json()["error"]["message"] == f"{field} is required"
    assert store.entries() == []


async def test_a_running_timer_needs_no_hours(client: httpx.AsyncClient) -> None:
    body = {"project_id": "prj_abc", "spent_date": "2026-03-06", "is_running": True}
    answer = await client.post(PATH, json=body)

    assert (answer.status_code, answer.json()["is_running"]) == (201, True)
    assert answer.json()["hours"] == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("project_id", 7),
        ("project_id", ""),
        ("project_id", None),
        ("task_id", ["tsk_001"]),
        ("spent_date", "2026-02-30"),
        ("spent_date", "20260306"),
        ("spent_date", "2026-W10-5"),
        ("spent_date", "2026-03-06T10:00:00Z"),
        ("spent_date", 20260306),
        ("hours", "1.5"),
        ("hours", True),
        ("hours", None),
        ("hours", -0.1),
        ("hours", 10**12),
        ("is_running", 1),
        ("is_billable", "yes"),
        ("is_billable", None),
        ("notes", {"text": "hi"}),
        ("source", "calendar"),
        ("metadata", ["agent"]),
        ("metadata", None),
        ("billable", True),
        ("id", "te_mine"),
    ],
)
async def test_a_wrong_or_unknown_field_is_refused_by_name(
    client: httpx.AsyncClient, store: Store, field: str, value: object
) -> None:
    answer = await client.post(PATH, json=MINIMAL | {field: value})

    assert error_of(answer) == (422, "validation_error", field)
    assert store.entries() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"hours": NaN}',
        b'{"hours": 1e999}',
        b'{"notes": "\\ud800"}',
        b"[" * 100_000,
        b'{"hours": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
async def test_a_body_that_is_no_json_object_is_malformed(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(PATH, content=body)

    assert error_of(answer) == (400, "validation_error", None)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("0", 0),
        ("2", 2),
        ("0.1", 0.1),
        ("24.5", 24.5),
        ("0.0001", 0.0001),
        ("1.00004", 1),
        ("1.00005", 1.0001),
        ("0.30000000000000004", 0.3),
        ("900719925474.0992", 900_719_925_474.0992),
    ],
)
async def test_hours_are_kept_to_four_places_rounded_half_up(
    client: httpx.AsyncClient, given: str, kept: float
) -> None:
    body = json.dumps(MINIMAL | {"hours": "HOURS"}).replace('"HOURS"', given)
    answer = await client.post(PATH, content=body)

    assert answer.status_code == 201
    assert answer.json()["hours"] == kept


def metadata_of(size: int) -> dict[str, str]:
    """Return metadata that is so many bytes of compact JSON, most of them in two-byte characters."""
    room = size - len('{"notes":"!"}')
    metadata = {"notes": "é" * (room // 2) + "!" * (1 + room % 2)}
    assert len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()) == size
    return metadata


async def test_metadata_of_4096_bytes_is_kept(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json=MINIMAL | {"metadata": metadata_of(4096)})

    assert answer.status_code == 201
    assert answer.json()["metadata"] == metadata_of(4096)


async def test_metadata_of_4097_bytes_is_too_large(client: httpx.AsyncClient, store: Store) -> None:
    answer = await client.post(PATH, json=MINIMAL | {"metadata": metadata_of(4097)})

    assert error_of(answer) == (422, "metadata_too_large", "metadata")
    assert store.entries() == []


async def test_metadata_is_measured_without_the_spaces_it_came_with(client: httpx.AsyncClient) -> None:
    body = json.dumps(MINIMAL | {"metadata": metadata_of(4096)}, indent=40)

    assert (await client.post(PATH, content=body)).status_code == 201


async def test_any_text_comes_back_as_it_was(client: httpx.AsyncClient) -> None:
    notes = 'naïve 🕰 \u0000 \u2028 "quoted" \'; DROP TABLE entries; --'
    entry = (await client.post(PATH, json=MINIMAL | {"notes": notes, "metadata": {notes: [notes]}})).json()

    assert (entry["notes"], entry["metadata"]) == (notes, {notes: [notes]})
    assert (await client.get(PATH)).json()["data"] == [entry]


async def test_a_project_without_assignment_is_forbidden(
    connect: Callable[..., httpx.AsyncClient], store: Store
) -> None:
    async with connect(forbidden_projects=["prj_abc"]) as client:
        answer = await client.post(PATH, json=MINIMAL)
        assert error_of(answer) == (403, "project_not_assigned", "project_id")
        assert store.entries() == []
        assert (await client.post(PATH, json=MINIMAL | {"project_id": "prj_other"})).status_code == 201


async def test_a_body_over_one_mebibyte_is_too_large(client: httpx.AsyncClient) -> None:
    whole = json.dumps(MINIMAL).encode()
    fits = await client.post(PATH, content=whole + b" " * (1024 * 1024 - len(whole)))
    too_large = await client.post(PATH, content=whole + b" " * (1024 * 1024 - len(whole) + 1))

    assert fits.status_code == 201
    assert error_of(too_large) == (413, "payload_too_large", None)


async def test_an_idempotency_key_is_ignored_unless_honoured(client: httpx.AsyncClient, store: Store) -> None:
    for _ in range(2):
        answer = await client.post(PATH, json=MINIMAL, headers={"Idempotency-Key": "k1"})
        assert answer.status_code == 201
    assert len(store.entries()) == 2


async def test_a_honoured_key_answers_the_first_entry_again(
    connect: Callable[..., httpx.AsyncClient], store: Store
) -> None:
    async with connect(honour_idempotency=True) as client:
        headers = {"Idempotency-Key": "k1"}
        first = await client.post(PATH, json=MINIMAL, headers=headers)
        await client.patch(f"{PATH}/{first.json()['id']}", json={"notes": "changed since"})
        again = await client.post(PATH, json=dict(reversed(MINIMAL.items())), headers=headers)

    assert (again.status_code, again.json()) == (201, first.json())
    assert len(store.entries()) == 1


async def test_a_honoured_key_with_another_body_is_a_duplicate(
    connect: Callable[..., httpx.AsyncClient], store: Store
) -> None:
    async with connect(honour_idempotency=True) as client:
        headers = {"Idempotency-Key": "k1"}
        await client.post(PATH, json=MINIMAL, headers=headers)
        other = await client.post(PATH, json=MINIMAL | {"hours": 2}, headers=headers)

    assert error_of(other) == (409, "duplicate", None)
    assert len(store.entries()) == 1


async def test_honoured_keys_of_two_users_and_no_key_at_all_are_independent(
    connect: Callable[..., httpx.AsyncClient], store: Store
) -> None:
    for key in ("keito_sk_one", "keito_sk_two"):
        async with connect(key, honour_idempotency=True) as client:
            await client.post(PATH, json=MINIMAL, headers={"Idempotency-Key": "k1"})
            await client.post(PATH, json=MINIMAL)

    assert len(store.entries()) == 4
