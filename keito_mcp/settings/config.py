"""Settings: what the operator decided, read once from the environment and the files that complete it."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, tzinfo
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from keito_mcp.settings import address, keito_cli, paths, trust
from keito_mcp.settings.api_version import Choice, Version, choose, needs_account, written_out
from keito_mcp.settings.principal import Principal
from keito_mcp.settings.repository import NAME, Configuration, ConfigurationError
from keito_mcp.settings.trust import WAITS, Found, Standing

_PRINTABLE_ASCII = re.compile(r"[\x21-\x7e]+")
_UNEXPANDED = re.compile(r"\$\{[^}]*\}|\$[A-Za-z_]\w*|%\w+%|\{env:\w+\}")
"""What hosts leave in place of a variable that isn't set."""

_LONGEST = 200

_OLDER_NAMES = {"account_id": "KEITO_WORKSPACE_ID"}
"""Variables of earlier versions of Keito's CLI, which count where the newer one is not set."""


class SettingsError(Exception):
    """A setting can't be used; the text names its variable and what is wrong, never a secret."""


def _stripped(value: object) -> object:
    if not isinstance(value, str):
        return value
    if _UNEXPANDED.fullmatch(value.strip()):
        raise ValueError(f"holds the text {value.strip()}: the host found no such variable where it was started")
    return value.strip()


def _says(value: object) -> bool:
    """Return whether a variable holds more than what a host leaves in place of one that isn't set."""
    return bool(value) and not (isinstance(value, str) and _UNEXPANDED.fullmatch(value.strip()))


def _blank_is_unset(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _home_expanded(value: Path) -> Path:
    try:
        folder = value.expanduser()
    except RuntimeError as error:
        raise ValueError(f"names a home folder that isn't known: {value}") from error
    if not folder.is_absolute():
        raise ValueError(f"{paths.RELATIVE}: {value}")
    return folder


def _usual_url(given: Mapping[str, Any]) -> str:
    return address.OF_VERSION[_choice(given["api_key"], given["api_version"]).version]


def _choice(key: SecretStr | None, version: Version | None) -> Choice:
    return choose(key.get_secret_value() if key else None, version)


def _printable(value: str) -> str:
    if len(value) > _LONGEST or not value.isprintable():
        raise ValueError(f"must be printable text of at most {_LONGEST} characters")
    return value


_IN_THE_FILE = {"account_id": "workspace_id", "project_id": "project_id", "task_id": "task_id"}
"""Fields that a repository's `.keito/config.yml` may give, and their names there."""

Text = Annotated[str, BeforeValidator(_stripped), AfterValidator(_printable), Field(min_length=1)]


class Settings(BaseSettings):
    """The environment's `KEITO_*` variables; an empty one counts as unset.

    The names of key, address and account are those of Keito's own command line and SDKs.
    """

    model_config = SettingsConfigDict(env_prefix="KEITO_", env_ignore_empty=True, extra="ignore", frozen=True)

    api_key: Annotated[
        SecretStr | None, Field(description="Your Keito API key (Settings → API & Developers in Keito).")
    ] = None
    api_version: Annotated[
        Version | None,
        BeforeValidator(written_out),
        BeforeValidator(_stripped),
        Field(description="Version of Keito's API, `v1` or `v2`; else the key's: `kto_…` is for v2, others for v1."),
    ] = None
    api_url: Annotated[str, BeforeValidator(_stripped), AfterValidator(address.base_url)] = Field(
        default_factory=_usual_url, description="Keito's address; https, or http on a loopback address."
    )
    account_id: Annotated[
        Text | None,
        Field(
            description="Your Keito account (company) id, which stands beside the key; a key that begins with `kto_` "
            "needs it. Else the CLI's older `KEITO_WORKSPACE_ID`."
        ),
    ] = None
    project_id: Annotated[Text | None, Field(description="Project for work that names none.")] = None
    task_id: Annotated[Text | None, Field(description="Task for work that names none.")] = None
    agent_id: Annotated[Text | None, Field(description="Who the agent is; else `<agent_type>@<hostname>`.")] = None
    agent_type: Annotated[
        Text | None,
        Field(description="The host's kind; else read from the client, such as `claude-code`."),
    ] = None
    session_id: Annotated[
        Text | None,
        Field(description="The session; else the host's, else one made per server process."),
    ] = None
    model: Annotated[Text | None, Field(description="The model, where the operator knows it; never guessed.")] = None
    timezone: Annotated[
        Text | None, Field(description="IANA time zone that decides the day of an entry; else the machine's.")
    ] = None
    state_dir: Annotated[
        Annotated[Path, BeforeValidator(_stripped), AfterValidator(_home_expanded)] | None,
        BeforeValidator(_blank_is_unset),
        Field(description="Folder of the journal, an absolute path; else the platform's per-user state folder."),
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

    @model_validator(mode="before")
    @classmethod
    def _by_older_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        # A host's block names the account for the keys that need one; for others nobody sets it.
        usable = {field: value for field, value in given.items() if field not in _OLDER_NAMES or _says(value)}
        older = {field: os.environ.get(name, "") for field, name in _OLDER_NAMES.items()}
        return {**{field: value for field, value in older.items() if _says(value)}, **usable}

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

    _found: Found = PrivateAttr(default_factory=Found)
    _principal: Principal | None = PrivateAttr(None)
    _login: keito_cli.Login | None = PrivateAttr(None)

    @classmethod
    def load(cls, folder: Path | None = None, *, with_login: bool = True) -> Self:
        """The settings of the environment, then a project's `.keito/config.yml`, then the Keito CLI's `config.toml`.

        The CLI's file is one login: its address and its account go with its own key only. Where the environment
        gives a key, nothing of the file is used, or that key would be sent to a server, or for an account, that it
        isn't for. An address or account that the environment gives goes before the file's, also with the file's key:
        whoever sets it means it, and the CLI does the same. So does the account of `.keito/config.yml`.

        Args:
            folder: The project's folder; without one only the environment and the CLI's file are read.
            with_login: Whether the CLI's file is read.

        Raises:
            SettingsError: One or more settings can't be used; the text names each and says why.
        """
        settings = cls._checked({}, variable_read)
        try:
            found = trust.find(folder, settings.folder) if folder else Found()
            login = keito_cli.find() if with_login and settings.api_key is None else None
        except (ConfigurationError, keito_cli.LoginError) as error:
            raise SettingsError(str(error)) from None
        if login:
            settings = settings.logged_in(login, found.used)
        return settings.completed_by(found)

    @classmethod
    def _checked(cls, given: Mapping[str, Any], named: Callable[[str], str]) -> Self:
        """The environment's settings with these, and what they are called where they can't be used."""
        try:
            return cls(**given)
        except ValidationError as error:
            raise SettingsError(_sentence(error, named)) from None

    def logged_in(self, login: keito_cli.Login, configuration: Configuration) -> Self:
        """These settings with a login for what nobody set, nor the repository's configuration gives.

        Raises:
            SettingsError: The login holds what can't be used.
        """
        given = {"account_id"} if configuration.workspace_id else set()
        used = {field: value for field, value in login.values.items() if field not in self.model_fields_set | given}
        completed = self._checked(used, lambda field: f"{login.place}: {field}")
        completed._login = replace(login, values=used)  # noqa: SLF001 -- of its own class
        return completed

    def completed_by(self, found: Found) -> Self:
        """These settings with a repository's for what nobody set."""
        configuration = found.used
        given = {field: getattr(configuration, name) for field, name in _IN_THE_FILE.items()}
        missing = {field: value for field, value in given.items() if value and field not in self.model_fields_set}
        if self.project_id not in {None, configuration.project_id}:
            # Its task is a task of its project.
            missing.pop("task_id", None)
        completed = self.model_copy(update=missing)
        completed._found = found  # noqa: SLF001 -- of its own class
        return completed

    @property
    def version(self) -> Version:
        """The version of Keito's API: `KEITO_API_VERSION`, else the key's."""
        return _choice(self.api_key, self.api_version).version

    @property
    def version_because(self) -> str:
        """Why it is that version, as half a sentence."""
        return _choice(self.api_key, self.api_version).because

    @property
    def warning(self) -> str | None:
        """What the operator should put right although everything works, as a sentence."""
        return self._login.warning if self._login else None

    @property
    def found(self) -> Found:
        """The repository's file, and whether it is used."""
        return self._found

    @property
    def configuration(self) -> Configuration:
        """What the repository's file says; the same as an empty one where there is none that is used."""
        return self._found.used

    @property
    def untrusted(self) -> str | None:
        """What the user must know of a repository's file that is not used, as a sentence."""
        if self._found.standing is not Standing.UNTRUSTED:
            return None
        is_another = self.if_trusted.account != self.account
        return f"{WAITS} (then restart keito-mcp, for it names another account)." if is_another else f"{WAITS}."

    @property
    def if_trusted(self) -> Self:
        """The settings as they would be if the user said yes to the repository's file."""
        trusted = self.completed_by(replace(self._found, standing=Standing.TRUSTED))
        account_id = self._found.says.workspace_id
        if account_id and self._login and "account_id" in self._login.values:
            # The file goes before the login of Keito's CLI.
            trusted = trusted.model_copy(update={"account_id": account_id})
        return trusted

    def source(self, field: str) -> str:
        """Where a field was read."""
        if field not in self.model_fields_set:
            return "default"
        if self._login and field in self._login.values:
            return self._login.place
        in_the_file = getattr(self.configuration, _IN_THE_FILE.get(field, ""), None)
        read = variable_read(field)
        if in_the_file is not None and in_the_file == getattr(self, field) and not _says(os.environ.get(read)):
            return NAME
        return "environment" if read == variable(field) else f"environment ({read})"

    def of(self, principal: Principal) -> Self:
        """These settings for calls that are made on behalf of a principal, with their key where they have their own."""
        settings = self
        if principal.api_key is not None:
            # The login of Keito's CLI is the operator's: its address and account go with its own key alone.
            of_login = self._login.values if self._login else {}
            account_id = None if "account_id" in of_login else self.account_id
            own = {"api_key": principal.api_key, "account_id": principal.account_id or account_id}
            settings = self.model_copy(update=own)
            if "api_url" in of_login or "api_url" not in self.model_fields_set:
                settings = settings.model_copy(update={"api_url": address.OF_VERSION[settings.version]})
        settings = settings.model_copy()
        settings._principal = principal  # noqa: SLF001 -- of its own class
        return settings

    @property
    def principal(self) -> Principal | None:
        """Whose settings these are; None where they are the server's own."""
        return self._principal

    @property
    def lacks_account(self) -> bool:
        """Return whether Keito takes the key only together with an account's id, and none is known."""
        return bool(
            self.api_key and not self.account_id and needs_account(self.api_key.get_secret_value(), self.version)
        )

    @property
    def rated_account(self) -> str:
        """Whose rate limit its requests count for: all principals of a server's key share that of the key."""
        key = self.api_key.get_secret_value() if self.api_key else ""
        owner = f"account {self.account_id}" if self.account_id else f"key {key}"
        return _hashed(self.api_url, owner)

    @property
    def account(self) -> str:
        """Whose entries these are: a hash of the address and the account id, or of the address and the key.

        Of a principal with a key of their own, of all three: two of the same company must not meet here, nor a caller
        and whoever uses the same key without a server, whose entries carry no mark. Of one with a token, of the
        server's and the token's name.
        """
        if self._principal is None:
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
        return ", ".join([self.api_url, *names])

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


def variable_read(field: str) -> str:
    """Return the variable that a field is read from: an older name where that alone is set."""
    older = _OLDER_NAMES.get(field, "")
    is_older = _says(os.environ.get(older)) and not _says(os.environ.get(variable(field)))
    return older if is_older else variable(field)


def _hashed(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:24]


def _sentence(error: ValidationError, named: Callable[[str], str]) -> str:
    problems = []
    for detail in error.errors(include_url=False, include_input=False, include_context=True):
        if detail["type"] == "default_factory_not_called":
            # A default that depends on what is wrong.
            continue
        name = named(str(detail["loc"][0])) if detail["loc"] else "KEITO_*"
        reason = str(detail.get("ctx", {}).get("error", detail["msg"]))
        problems.append(f"{name} {reason[:1].lower()}{reason[1:]}")
    return "; ".join(problems)
