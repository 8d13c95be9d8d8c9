"""The documented API, by its own page: every example is run as it stands there."""

import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from keito_mcp.sandbox import Store
from keito_mcp.sandbox.entry import Entry

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).with_name("keito-api-v1.md").read_text(encoding="utf-8")
CREATE, LIST, PATCH, DELETE = re.findall(r"^curl (?:\\\n|'[^']*'|[^'\n])*$", PAGE, re.MULTILINE)
CREATED, LISTED = (json.JSONDecoder().raw_decode(example)[0] for example in PAGE.split("\nExample Response\n")[1:])
MADE_UP = {"id", "user_id", "created_at", "updated_at"}

needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("sh")), reason="the examples are curl commands for a shell"
)

Serving = Callable[..., AbstractAsyncContextManager[str]]
Run = Callable[[str, str], Any]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`await run(command, url)`: runs an example with only the host replaced; returns status and body."""
    # By the configuration file the command itself can stay as documented.
    (tmp_path / ".curlrc").write_text('silent\nshow-error\nwrite-out = "\\n%{http_code}"\n', encoding="utf-8")
    environment = os.environ | {"CURL_HOME": str(tmp_path), "NO_PROXY": "*", "no_proxy": "*"}

    async def run(command: str, url: str) -> tuple[int, str]:
        assert "https://api.keito.ai/" in command
        command = command.replace("https://api.keito.ai", url)
        done = await anyio.run_process(["sh", "-c", command], env=environment)
        body, _, status = done.stdout.decode().rpartition("\n")
        return int(status), body

    return run


def documented_entry(entry_id: str) -> Entry:
    time = datetime(2026, 3, 6, 14, 30, tzinfo=UTC)
    return Entry(
        id=entry_id,
        user_id=CREATED["user_id"],
        project_id=CREATED["project_id"],
        task_id=CREATED["task_id"],
        spent_date=CREATED["spent_date"],
        units=int(CREATED["hours"] * 10_000),
        started_at=None,
        notes=CREATED["notes"],
        is_billable=CREATED["is_billable"],
        source=CREATED["source"],
        metadata=CREATED["metadata"],
        created_at=time,
        updated_at=time,
    )


def documented_names(heading: str) -> list[str]:
    """Return the first column of the table below a heading."""
    table = PAGE.split(f"\n{heading}\n", 1)[1].split("|---|\n", 1)[1]
    rows = re.match(r"(?:\w+ \|.*\n)*", table)
    assert rows
    return [row.split(" |")[0] for row in rows[0].splitlines()]


def contains(whole: object, part: object) -> bool:
    """Return whether all that is in `part` is in `whole`, object by object."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    return whole == part


@needs_curl
async def test_the_create_example_answers_the_documented_entry(serving: Serving, run: Run) -> None:
    async with serving() as url:
        status, body = await run(CREATE, url)

    answer = json.loads(body)
    assert status == 201
    assert list(answer) == list(CREATED)
    assert {k: v for k, v in answer.items() if k not in MADE_UP} == {
        k: v for k, v in CREATED.items() if k not in MADE_UP
    }


@needs_curl
async def test_the_list_example_finds_the_entry_of_the_create_example(serving: Serving, run: Run) -> None:
    async with serving() as url:
        await run(CREATE, url)
        status, body = await run(LIST, url)

    answer = json.loads(body)
    [shown], [documented] = answer.pop("data"), LISTED["data"]
    assert status == 200
    assert answer == {"next_cursor": None, "has_more": False}
    assert contains(shown, {k: v for k, v in documented.items() if k not in MADE_UP})


@needs_curl
async def test_the_patch_example_stops_the_timer_with_the_hours_given(serving: Serving, run: Run, store: Store) -> None:
    store.create(documented_entry("te_abc123"))
    async with serving() as url:
        status, body = await run(PATCH, url)

    assert status == 200
    assert contains(
        json.loads(body),
        {"id": "te_abc123", "hours": 1.5, "is_running": False, "notes": "Completed OAuth implementation"},
    )


@needs_curl
async def test_the_delete_example_answers_204_without_a_body(serving: Serving, run: Run, store: Store) -> None:
    store.create(documented_entry("te_abc123"))
    async with serving() as url:
        assert await run(DELETE, url) == (204, "")
    assert store.entries() == []


async def test_an_entry_of_the_documented_values_is_shown_exactly_as_documented(
    client: httpx.AsyncClient, store: Store
) -> None:
    store.create(documented_entry("te_abc123"))

    answer = await client.get("/v1/time-entries/te_abc123")

    assert answer.status_code == 200
    assert list(answer.json().items()) == list(CREATED.items())


@pytest.mark.parametrize(
    ("method", "path", "heading"),
    [
        ("POST", "/v1/time-entries", "Request Body"),
        ("PATCH", "/v1/time-entries/te_abc123", "Updatable Fields"),
        ("GET", "/v1/time-entries", "Query Parameters"),
    ],
)
async def test_exactly_the_documented_fields_are_known(
    client: httpx.AsyncClient, method: str, path: str, heading: str
) -> None:
    unknown = {"surprise": "!"}
    answer = await client.request(method, path, **{"params" if method == "GET" else "json": unknown})  # type: ignore[arg-type]

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (422, "validation_error", "surprise")
    known = error["message"].removeprefix("surprise is unknown; known are ").split(", ")
    assert sorted(known) == sorted(documented_names(heading))
