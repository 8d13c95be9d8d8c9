"""How API v2 shows things: all the properties that its OpenAPI file has, and no others."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.datastructures import URL

from keito_mcp.sandbox.catalogue import FOUNDED, Catalogue, Client, Project, Task, User
from keito_mcp.sandbox.entry import UNITS_PER_HOUR, Entry, rfc3339
from keito_mcp.sandbox.v2_input import Paging


def show_entry(entry: Entry, now: datetime, catalogue: Catalogue) -> dict[str, Any]:
    """Return a time entry as it is at that time.

    What is not in the catalogue has its id for a name. An entry that API v1 made without a task has the
    catalogue's default one. `is_closed` says that the entry was approved.
    """
    project = catalogue.project(entry.project_id)
    task = catalogue.task(entry.task_id) if entry.task_id is not None else catalogue.default_task
    task_id = task.id if task else entry.task_id or ""
    user = catalogue.user(entry.user_id)
    return {
        "id": entry.id,
        "user_id": entry.user_id,
        "project_id": entry.project_id,
        "task_id": task_id,
        "user": _named(user.id, user.name),
        "project": _named(entry.project_id, project.name if project else entry.project_id),
        "task": _named(task_id, task.name if task else task_id),
        "spent_date": entry.spent_date,
        "hours": entry.units_at(now) / UNITS_PER_HOUR,
        "notes": entry.notes,
        "is_running": entry.is_running,
        "timer_started_at": entry.started_at and rfc3339(entry.started_at),
        "started_time": entry.started_time,
        "ended_time": entry.ended_time,
        "is_locked": entry.locked,
        "is_closed": entry.approved,
        "is_billed": entry.billed,
        "billable": entry.is_billable,
        "budgeted": project is not None and project.budget is not None,
        "billable_rate": _rate(project, task) if entry.is_billable else None,
        "cost_rate": user.cost_rate,
        "source": entry.source,
        "metadata": entry.metadata,
        "created_at": rfc3339(entry.created_at),
        "updated_at": rfc3339(entry.updated_at),
    }


def show_project(project: Project, catalogue: Catalogue) -> dict[str, Any]:
    """Return a project, whose budget is one of hours if it has any."""
    client = catalogue.client(project.client_id)
    return {
        "id": project.id,
        "client": _named(project.client_id, client.name if client else project.client_id),
        "name": project.name,
        "code": project.code,
        "is_active": project.is_active,
        "is_billable": project.is_billable,
        "is_fixed_fee": False,
        "bill_by": "project" if project.is_billable else "none",
        "hourly_rate": project.hourly_rate,
        "fee": None,
        "budget_by": "none" if project.budget is None else "project",
        "budget": project.budget,
        "budget_is_monthly": False,
        "notify_when_over_budget": False,
        "over_budget_notification_percentage": None,
        "show_budget_to_all": False,
        "cost_budget": None,
        "cost_budget_include_expenses": False,
        "starts_on": None,
        "ends_on": None,
        "notes": project.notes,
        **_times(project.updated_at),
    }


def show_client(client: Client) -> dict[str, Any]:
    """Return a client."""
    return {
        "id": client.id,
        "name": client.name,
        "address": None,
        "currency": client.currency,
        "is_active": client.is_active,
        "payment_terms": "net_30",
        "payment_days": 30,
        "tax": None,
        "tax2": None,
        "discount": None,
        "statement_key": f"key-of-{client.id}",
        **_times(client.updated_at),
    }


def show_task(task: Task) -> dict[str, Any]:
    """Return a task; none is a part of another."""
    return {
        "id": task.id,
        "name": task.name,
        "billable_by_default": task.billable_by_default,
        "default_hourly_rate": task.default_hourly_rate,
        "is_default": task.is_default,
        "is_active": task.is_active,
        "parent_task_id": None,
        **_times(task.updated_at),
    }


def show_user(user: User, company_id: str, catalogue: Catalogue) -> dict[str, Any]:
    """Return a user as one of that company, with a week of 40 hours."""
    return {
        "id": user.id,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": f"{user.id}@keito.invalid",
        "telephone": None,
        "timezone": user.timezone,
        "has_access_to_all_future_projects": False,
        "is_contractor": False,
        "is_active": True,
        "weekly_capacity": 40 * 60 * 60,
        "default_hourly_rate": None,
        "cost_rate": user.cost_rate,
        "currency": "USD",
        "roles": list(user.roles),
        "user_type": user.user_type,
        "avatar_url": None,
        "company": _named(company_id, catalogue.company_name),
        **_times(user.updated_at),
    }


def show_page(name: str, items: list[dict[str, Any]], total: int, paging: Paging, url: URL) -> dict[str, Any]:
    """Return one page of a list; a list without items has one page, an empty one.

    Args:
        name: What the list is of, in the plural.
        items: What is on this page.
        total: How many there are on all pages.
        paging: Which page this is.
        url: Where it was asked for; the links to other pages keep its filters.
    """
    last = max(1, -(-total // paging.size))

    def link(number: int) -> str:
        return str(url.include_query_params(page=number, per_page=paging.size))

    return {
        name: items,
        "per_page": paging.size,
        "total_pages": last,
        "total_entries": total,
        "page": paging.number,
        "links": {
            "first": link(1),
            "next": link(paging.number + 1) if paging.number < last else None,
            "previous": link(paging.number - 1) if paging.number > 1 else None,
            "last": link(last),
        },
    }


def _rate(project: Project | None, task: Task | None) -> float | None:
    if project is not None and project.hourly_rate is not None:
        return project.hourly_rate
    return None if task is None else task.default_hourly_rate


def _named(identifier: str, name: str) -> Mapping[str, str]:
    return {"id": identifier, "name": name}


def _times(updated_at: datetime) -> Mapping[str, str]:
    return {"created_at": rfc3339(FOUNDED), "updated_at": rfc3339(updated_at)}
