"""What entries are made of in API v2: clients, projects, tasks and users, given once and never changed by a request."""

from dataclasses import dataclass
from datetime import UTC, datetime

FOUNDED = datetime(2026, 1, 1, tzinfo=UTC)
"""When all of it was made, and last changed where nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Somebody who pays for projects."""

    id: str
    name: str
    currency: str = "USD"
    is_active: bool = True
    updated_at: datetime = FOUNDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project; `hourly_rate` is in the client's currency, `budget` in hours."""

    id: str
    name: str
    client_id: str
    code: str | None = None
    is_active: bool = True
    is_billable: bool = True
    hourly_rate: float | None = None
    budget: float | None = None
    notes: str | None = None
    updated_at: datetime = FOUNDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kind of work, the same in all projects."""

    id: str
    name: str
    billable_by_default: bool = True
    default_hourly_rate: float | None = None
    is_default: bool = False
    is_active: bool = True
    updated_at: datetime = FOUNDED


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person or an agent; `access.user_of` tells the id that goes with a key.

    Whoever is a `manager` or an `administrator` changes everybody's entries, others only their own.
    """

    id: str
    first_name: str | None = None
    last_name: str | None = None
    user_type: str = "human"
    roles: tuple[str, ...] = ("manager",)
    timezone: str = "UTC"
    cost_rate: float | None = None
    updated_at: datetime = FOUNDED

    @property
    def name(self) -> str:
        """The full name, or the id where there is none."""
        return " ".join(filter(None, (self.first_name, self.last_name))) or self.id

    @property
    def manages_others(self) -> bool:
        """Whether the user may create, change and delete what others worked."""
        return not {"manager", "administrator"}.isdisjoint(self.roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All that there is. A user who is not listed exists all the same, as a manager without a name."""

    clients: tuple[Client, ...] = ()
    projects: tuple[Project, ...] = ()
    tasks: tuple[Task, ...] = ()
    users: tuple[User, ...] = ()
    company_id: str = "cmp_sandbox"
    company_name: str = "Sandbox"

    def client(self, client_id: str) -> Client | None:
        """Return the client with that id, if there is one."""
        return next((client for client in self.clients if client.id == client_id), None)

    def project(self, project_id: str) -> Project | None:
        """Return the project with that id, if there is one."""
        return next((project for project in self.projects if project.id == project_id), None)

    def task(self, task_id: str) -> Task | None:
        """Return the task with that id, if there is one."""
        return next((task for task in self.tasks if task.id == task_id), None)

    def user(self, user_id: str) -> User:
        """Return the user with that id, made up where none is listed."""
        return next((user for user in self.users if user.id == user_id), User(id=user_id))

    @property
    def default_task(self) -> Task | None:
        """The task of work for which nobody named one: where none is the default, the first."""
        return next((task for task in self.tasks if task.is_default), self.tasks[0] if self.tasks else None)


SANDBOX = Catalogue(
    clients=(
        Client(id="cli_lighthouse", name="Lighthouse Books"),
        Client(id="cli_orchard", name="Orchard Foods", currency="EUR"),
    ),
    projects=(
        Project(id="prj_sandbox", name="Sandbox", client_id="cli_lighthouse", code="SAND"),
        Project(id="prj_books_web", name="Website", client_id="cli_lighthouse", code="LB-WEB", hourly_rate=120),
        Project(id="prj_foods_web", name="Website", client_id="cli_orchard", code="OF-WEB", hourly_rate=95, budget=40),
        Project(id="prj_upkeep", name="Upkeep", client_id="cli_orchard", is_billable=False),
        Project(id="prj_shop", name="Old shop", client_id="cli_orchard", code="OF-SHOP", is_active=False),
    ),
    tasks=(
        Task(id="tsk_development", name="Development", is_default=True),
        Task(id="tsk_review", name="Code review", default_hourly_rate=110),
        Task(id="tsk_meeting", name="Meeting", billable_by_default=False),
        Task(id="tsk_travel", name="Travel", is_active=False),
    ),
)
"""What a sandbox has unless told otherwise."""
