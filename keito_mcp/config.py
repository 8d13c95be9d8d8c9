"""Settings: what the operator decided, read once from the environment."""

import os
import re
from datetime import date, datetime, tzinfo
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from keito_mcp import paths
from keito_mcp.principal import Principal
from keito_mcp.repository import NAME, Configuration, ConfigurationError

if TYPE_CHECKING:
    from keito_mcp.keito import Chosen

_AN_ADDRESS = "https://api.keito.ai"
_PRINTABLE_ASCII = re.compile(r"[\x21-\x7e]+")
_VERSION_PATH = re.compile(r"(/api)?/v[12]$")
"""What an address is often copied with; which version is spoken is another setting."""

_UNEXPANDED = re.compile(r"\$\{[^}]*\}")
"""What hosts leave in place of a variable that isn't set."""

_IDENTITY_LIMIT = 200


class SettingsError(Exception):
    """A setting can't be used; the text names its variable and what is wrong, never a secret."""


def _stripped(value: object) -> object:
    if not isinstance(value, str):
        return value
    if _UNEXPANDED.fullmatch(value.strip()):
        raise ValueError(f"holds the text {value.strip()}: the host found no such variable where it was started")
    return value.strip()


def _blank_is_unset(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _home_expanded(value: Path) -> Path:
    try:
        return value.expanduser()
    except RuntimeError as error:
        raise ValueError(f"names a home folder that isn't known: {value}") from error


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"must be an address such as {_AN_ADDRESS}")
    _ = parts.port  # raises ValueError for one that is none
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a plain address, without a user, a password, a query or a fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must be https, because the key travels with each call (http is for loopback addresses)")
    return _VERSION_PATH.sub("", value.rstrip("/"))


def _version(value: object) -> object:
    text = str(_stripped(value)).lower()
    return f"v{text}" if text in {"1", "2"} else text


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _printable(value: str) -> str:
    if len(value) > _IDENTITY_LIMIT or not value.isprintable():
        raise ValueError(f"must be printable text of at most {_IDENTITY_LIMIT} characters")
    return value


_IN_THE_FILE = {"account_id": "workspace_id", "project_id": "project_id", "task_id": "task_id"}
"""Fields that a repository's `.keito/config.yml` may give, and their names there."""

Text = Annotated[str, BeforeValidator(_stripped), Field(min_length=1)]
IdentityText = Annotated[Text, AfterValidator(_printable)]


class Settings(BaseSettings):
    """The environment's `KEITO_*` variables; an empty one counts as unset.

    The first three names are those of Keito's own command line and SDKs.
    """

    model_config = SettingsConfigDict(env_prefix="KEITO_", env_ignore_empty=True, extra="ignore", frozen=True)

    api_key: Annotated[SecretStr | None, Field(description="Your Keito API key (Settings → API in Keito).")] = None
    api_url: Annotated[
        Annotated[str, BeforeValidator(_stripped), AfterValidator(_base_url)] | None,
        Field(
            description="Keito's address, https, or http on a loopback address; else `https://api.keito.ai` for "
            "version 1 of its API and `https://app.keito.ai` for version 2."
        ),
    ] = None
    api_version: Annotated[
        Annotated[Literal["v1", "v2"], BeforeValidator(_version)] | None,
        Field(description="`v1` or `v2` of Keito's API; else as the key begins: `kto_` is v2, any other v1."),
    ] = None
    account_id: Annotated[
        Text | None,
        Field(description="Your Keito account (company) id; keeps the journal together when a key is rotated."),
    ] = None
    project_id: Annotated[Text | None, Field(description="Project for work that names none.")] = None
    task_id: Annotated[Text | None, Field(description="Task for work that names none.")] = None
    agent_id: Annotated[IdentityText | None, Field(description="Who the agent is; else `<agent_type>@<hostname>`.")] = (
        None
    )
    agent_type: Annotated[
        IdentityText | None,
        Field(description="The host's kind; else read from the client, such as `claude-code`."),
    ] = None
    session_id: Annotated[
        IdentityText | None,
        Field(description="The session; else the host's, else one made per server process."),
    ] = None
    model: Annotated[
        IdentityText | None, Field(description="The model, where the operator knows it; never guessed.")
    ] = None
    timezone: Annotated[
        Text | None, Field(description="IANA time zone that decides the day of an entry; else the machine's.")
    ] = None
    state_dir: Annotated[
        Annotated[Path, BeforeValidator(_stripped), AfterValidator(_home_expanded)] | None,
        BeforeValidator(_blank_is_unset),
        Field(description="Folder of the journal; else the platform's per-user state folder."),
    ] = None
    autolog: Annotated[
        bool, Field(description="Log the sessions in repositories without a `.keito/config.yml`, too (`1`).")
    ] = False
    mcp_tokens: Annotated[
        SecretStr | None,
        Field(
            description="Over HTTP: who may connect; tokens or `name:sha256`, separated by commas, or the path of a "
            "file with one `name:sha256` per line."
        ),
    ] = None
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="How much goes to stderr.")
    ] = "WARNING"

    @field_validator("api_key", mode="after")
    @classmethod
    def _fits_in_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None:
            return None
        text = str(_stripped(key.get_secret_value()))
        if not _PRINTABLE_ASCII.fullmatch(text):
            raise ValueError("holds a space, a line break or another character that no key has; copy it again")
        return SecretStr(text)

    @field_validator("timezone", mode="after")
    @classmethod
    def _exists(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (KeyError, OSError, ValueError) as error:
                raise ValueError("is not a time zone; write it like Europe/Berlin") from error
        return name

    _configuration: Configuration | None = PrivateAttr(None)
    _principal: Principal | None = PrivateAttr(None)

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """The settings that the environment gives, and for what it leaves open, a project's `.keito/config.yml`.

        Args:
            folder: The project's folder; without one no file is read.

        Raises:
            SettingsError: One or more settings can't be used; the text names each and says why.
        """
        try:
            settings = cls()
        except ValidationError as error:
            raise SettingsError(_sentence(error)) from None
        try:
            configuration = Configuration.of(folder) if folder else None
        except ConfigurationError as error:
            raise SettingsError(str(error)) from None
        return settings.completed_by(configuration) if configuration else settings

    def completed_by(self, configuration: Configuration) -> Self:
        """These settings with a repository's for what nobody set."""
        given = {field: getattr(configuration, name) for field, name in _IN_THE_FILE.items()}
        missing = {field: value for field, value in given.items() if value and field not in self.model_fields_set}
        if self.project_id not in {None, configuration.project_id}:
            # Its task is a task of its project.
            missing.pop("task_id", None)
        completed = self.model_copy(update=missing)
        completed._configuration = configuration  # noqa: SLF001 -- of its own class
        return completed

    @property
    def configuration(self) -> Configuration | None:
        """What the repository's file says; None where there is none, or none is read."""
        return self._configuration

    def source(self, field: str) -> str:
        """Where a field was read."""
        if field not in self.model_fields_set:
            return "default"
        in_the_file = getattr(self._configuration, _IN_THE_FILE.get(field, ""), None)
        from_the_file = in_the_file == getattr(self, field) and variable(field) not in os.environ
        return NAME if in_the_file is not None and from_the_file else "environment"

    def of(self, principal: Principal) -> Self:
        """These settings for calls that are made on behalf of a principal, with their key where they have their own."""
        own = {"api_key": principal.api_key, "account_id": principal.account_id or self.account_id}
        settings = self.model_copy(update=own if principal.api_key else {})
        settings._principal = principal  # noqa: SLF001 -- of its own class
        return settings

    @property
    def principal(self) -> Principal | None:
        """Whose settings these are; None where they are the server's own."""
        return self._principal

    @property
    def version(self) -> "Chosen":
        """The version of Keito's API, and why it is that one."""
        from keito_mcp.keito import version_of

        return version_of(self.api_key.get_secret_value() if self.api_key else None, self.api_version)

    @property
    def base_url(self) -> str:
        """Keito's address, without the path of a version."""
        from keito_mcp.keito import DEFAULT_URLS

        return self.api_url or DEFAULT_URLS[self.version.version]

    @property
    def rated_account(self) -> str:
        """Whose rate limit its requests count for: all principals of a server's key share that of the key."""
        key = self.api_key.get_secret_value() if self.api_key else ""
        owner = f"account {self.account_id}" if self.account_id else f"key {key}"
        return _hashed(self.base_url, owner)

    @property
    def account(self) -> str:
        """Whose entries these are: a hash of the address and the account id, or of the address and the key.

        Of a principal with a key of their own, of all three: two of the same company must not meet here. Of one with
        a token, of the server's and the token's name.
        """
        if self._principal is None or (self._principal.api_key is not None and self.account_id is None):
            return self.rated_account
        if self._principal.api_key is None:
            return _hashed(self.rated_account, f"token {self._principal.name}")
        return _hashed(self.rated_account, f"key {self._principal.api_key.get_secret_value()}")

    @property
    def account_is(self) -> str:
        """The account in words; a key is told from another one by a piece of its hash."""
        names = [f"account {self.account_id}"] if self.account_id else []
        if self._principal is not None:
            kind = "token" if self._principal.api_key is None else "key"
            names.append(f"{kind} {self._principal.name}")
        elif not names:
            names = [f"key #{self.account[:6]}"]
        return ", ".join([self.base_url, *names])

    @property
    def folder(self) -> Path:
        """The state folder: `KEITO_STATE_DIR`, else the platform's."""
        try:
            return self.state_dir or paths.state_dir({})
        except RuntimeError as error:
            raise SettingsError(f"KEITO_STATE_DIR is not set, and no home folder is known ({error})") from error

    def day(self, moment: datetime) -> date:
        """The day that a moment falls on in the user's time zone."""
        return moment.astimezone(self.zone).date()

    @property
    def zone(self) -> tzinfo | None:
        """The user's time zone; None is the machine's own."""
        return ZoneInfo(self.timezone) if self.timezone else None


def variable(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return f"KEITO_{field.upper()}"


def _hashed(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:24]


def _sentence(error: ValidationError) -> str:
    problems = []
    for detail in error.errors(include_url=False, include_input=False, include_context=True):
        name = variable(str(detail["loc"][0])) if detail["loc"] else "KEITO_*"
        reason = str(detail.get("ctx", {}).get("error", detail["msg"]))
        problems.append(f"{name} {reason[:1].lower()}{reason[1:]}")
    return "; ".join(problems)
