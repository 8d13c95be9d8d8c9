"""API v2 by a client that nobody here wrote: Keito's own SDK for Python, on a real socket."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from anyio import to_thread
from keito import AsyncKeito, Keito
from keito.core.api_error import KeitoConflictError, KeitoForbiddenError, KeitoNotFoundError, KeitoValidationError
from keito.types.common import Source

from keito_mcp.sandbox import RecordedRequest, Store, user_of
from tests.openapi import check_request

pytestmark = pytest.mark.anyio

Serving = Callable[..., AbstractAsyncContextManager[str]]

KEY = "kto_test"
ACCOUNT = "cmp_test"
DAY = "2026-03-06"


@pytest.fixture
def requests() -> list[RecordedRequest]:
    return []


@pytest.fixture
async def url(serving: Serving, requests: list[RecordedRequest]) -> AsyncIterator[str]:
    async with serving(requests=requests) as url:
        yield url


@pytest.fixture
async def sdk(url: str) -> AsyncIterator[AsyncKeito]:
    async with AsyncKeito(api_key=KEY, account_id=ACCOUNT, base_url=url, timeout=5, max_retries=0) as sdk:
        yield sdk


async def test_it_creates_updates_and_deletes_an_entry(sdk: AsyncKeito, store: Store) -> None:
    created = await sdk.time_entries.create(
        project_id="prj_sandbox",
        task_id="tsk_review",
        spent_date=DAY,
        hours=1.5,
        source=Source.AGENT,
        metadata={"session_id": "s1"},
    )
    updated = await sdk.time_entries.update(created.id, hours=2, notes="longer", metadata={"model": "m1"})

    assert (created.hours, created.source, created.user.id) == (1.5, Source.AGENT, user_of(KEY))
    assert (created.project.name, created.task.name, created.billable) == ("Sandbox", "Code review", True)
    assert (updated.hours, updated.notes) == (2, "longer")
    assert updated.metadata == {"session_id": "s1", "model": "m1"}

    await sdk.time_entries.delete(created.id)
    assert store.entries() == []
    with pytest.raises(KeitoNotFoundError):
        await sdk.time_entries.delete(created.id)


async def test_it_walks_all_pages_of_a_list(sdk: AsyncKeito, requests: list[RecordedRequest]) -> None:
    created = [
        await sdk.time_entries.create(project_id="prj_sandbox", task_id="tsk_review", spent_date=DAY, source=source)
        for source in (Source.AGENT, Source.CLI) * 5
    ]
    listed = [
        entry async for entry in sdk.time_entries.list(source=Source.AGENT, per_page=2, from_date=DAY, is_running=False)
    ]

    assert listed == [entry for entry in created if entry.source is Source.AGENT][::-1]
    assert [request.method for request in requests[10:]] == ["GET"] * 3


async def test_it_sees_a_timer_run_and_stop(sdk: AsyncKeito, url: str) -> None:
    timer = await sdk.time_entries.create(
        project_id="prj_sandbox", task_id="tsk_review", spent_date=DAY, is_running=True
    )
    with pytest.raises(KeitoConflictError, match="conflict: another timer is already running"):
        await sdk.time_entries.create(project_id="prj_sandbox", task_id="tsk_review", spent_date=DAY, is_running=True)
    assert [entry.id async for entry in sdk.time_entries.list(is_running=True)] == [timer.id]

    # This version of the SDK has no method that stops a timer.
    headers = {"Authorization": f"Bearer {KEY}", "Keito-Account-Id": ACCOUNT}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        await client.patch(f"/api/v2/time_entries/{timer.id}/stop")

    [stopped] = [entry async for entry in sdk.time_entries.list()]
    assert timer.timer_started_at is not None
    assert (stopped.is_running, stopped.timer_started_at) == (False, None)


async def test_it_understands_what_is_refused(sdk: AsyncKeito, store: Store) -> None:
    with pytest.raises(KeitoNotFoundError, match="not found: there is no such project"):
        await sdk.time_entries.create(project_id="prj_none", task_id="tsk_review", spent_date=DAY)
    with pytest.raises(KeitoValidationError, match="bad request: spent_date must be a date"):
        await sdk.time_entries.create(project_id="prj_sandbox", task_id="tsk_review", spent_date="today")
    entry = await sdk.time_entries.create(project_id="prj_sandbox", task_id="tsk_review", spent_date=DAY)
    store.lock(entry.id)
    with pytest.raises(KeitoForbiddenError, match="forbidden: the time entry is locked"):
        await sdk.time_entries.delete(entry.id)


async def test_it_reads_projects_clients_tasks_and_the_user(sdk: AsyncKeito) -> None:
    projects = [project async for project in sdk.projects.list(per_page=1)]
    clients = [client async for client in sdk.clients.list()]
    tasks = [task async for task in sdk.tasks.list()]
    me = await sdk.users.me()

    assert [project.client.name for project in projects if project.client and project.name == "Website"] == [
        client.name for client in clients
    ]
    assert [task.name for task in tasks if task.is_default] == ["Development"]
    assert me.id == user_of(KEY)


async def test_its_synchronous_half_works_too(url: str) -> None:
    def work() -> list[str]:
        with Keito(api_key=KEY, account_id=ACCOUNT, base_url=url, timeout=5, max_retries=0) as sdk:
            entry = sdk.time_entries.create(project_id="prj_sandbox", task_id="tsk_review", spent_date=DAY)
            assert [listed.id for listed in sdk.time_entries.list()] == [entry.id]
            sdk.time_entries.delete(entry.id)
            return [listed.id for listed in sdk.time_entries.list()]

    assert await to_thread.run_sync(work) == []


async def test_its_requests_are_as_described(sdk: AsyncKeito, requests: list[RecordedRequest]) -> None:
    entry = await sdk.time_entries.create(project_id="prj_sandbox", task_id="tsk_review", spent_date=DAY, hours=1)
    await sdk.time_entries.update(entry.id, notes="n")
    assert [listed.notes async for listed in sdk.time_entries.list(from_date=DAY, is_billed=False)] == ["n"]
    await sdk.time_entries.delete(entry.id)

    assert len(requests) == 4
    for request in requests:
        check_request(request.method, request.path, request.query, request.body)
