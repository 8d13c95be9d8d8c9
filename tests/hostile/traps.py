"""A repository in which whatever is imported, run or opened as its author wishes leaves a mark, or hangs."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

_HOOKS = ("pre-commit", "post-checkout", "post-index-change", "fsmonitor-watchman", "reference-transaction")
_GIT_CONFIG = """\
[core]
    repositoryformatversion = 1
    fsmonitor = {trap}
    hooksPath = {hooks}
    pager = {trap}
    editor = {trap}
    askPass = {trap}
    sshCommand = {trap}
    gitProxy = {trap}
    alternateRefsCommand = {trap}
[extensions]
    partialClone = origin
[remote "origin"]
    url = ext::{trap}
    promisor = true
    vcs = trap
[protocol "ext"]
    allow = always
[credential]
    helper = "!{trap}"
[diff]
    external = {trap}
[pager]
    config = {trap}
    rev-parse = {trap}
[alias]
    rev-parse = "!{trap}"
    config = "!{trap}"
    symbolic-ref = "!{trap}"
    ls-files = "!{trap}"
[filter "trap"]
    clean = {trap}
    smudge = {trap}
    process = {trap}
"""
CONFIGURATION = "project_id: prj_shop\nagent_tracking: {min_duration_seconds: 0}\n"
ENDLESS = Path("/proc/self/fd/1")


@dataclass
class Repository:
    """A repository of somebody else's, and the file in which its traps leave their names."""

    folder: Path
    marks: Path

    @property
    def sprung(self) -> str:
        """The traps that were sprung."""
        return self.marks.read_text() if self.marks.exists() else ""

    def write(self, configuration: str | bytes = CONFIGURATION) -> None:
        text = configuration if isinstance(configuration, bytes) else configuration.encode()
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_bytes(text)

    @property
    def file(self) -> Path:
        return self.folder / ".keito" / "config.yml"

    @property
    def programs(self) -> Path:
        """A folder of programs that have the names of those that we start."""
        return self.folder / "bin"


def trapped(folder: Path, *, without: Collection[str] = ()) -> Repository:
    """A git repository full of traps.

    Args:
        folder: Where it is made.
        without: Modules that it has none of the name of.
    """
    repository = Repository(folder / "clone", folder / "marks")
    made = repository.folder
    made.mkdir()
    subprocess.run(["git", "init", "-q", str(made)], check=True)
    who = ("-c", "user.name=someone", "-c", "user.email=someone@example.com")
    subprocess.run(["git", *who, "-C", str(made), "commit", "-q", "--allow-empty", "-m", "Start"], check=True)
    _modules(repository, without)
    _programs(repository)
    _git(repository)
    repository.write()
    return repository


def _modules(repository: Repository, without: Collection[str]) -> None:
    mark = f"open({str(repository.marks)!r}, 'a').write('module ' + __name__ + '\\n')\n"
    names = {*sys.stdlib_module_names, *packages_distributions(), "sitecustomize", "usercustomize"}
    for name in names - {"__main__", *without}:
        (repository.folder / f"{name}.py").write_text(mark)
    # A package goes before a module of the same name.
    for name in {"encodings", "mcp", "pydantic", "json", "keito_mcp"} - {*without}:
        (repository.folder / name).mkdir()
        for file in ("__init__", "__main__", "cli", "hook"):
            (repository.folder / name / f"{file}.py").write_text(mark)


def _programs(repository: Repository) -> None:
    repository.programs.mkdir()
    for name in ("trap", "git", "ps", "python", "python3", "keito-mcp", "sh", "git-remote-trap"):
        program = repository.programs / name
        program.write_text(f'#!/bin/sh\necho "program $0" >> "{repository.marks}"\n')
        program.chmod(0o755)


def _git(repository: Repository) -> None:
    git, hooks = repository.folder / ".git", repository.folder / "hooks"
    trap = repository.programs / "trap"
    for where in (hooks, git / "hooks"):
        where.mkdir(exist_ok=True)
        for name in _HOOKS:
            (where / name).unlink(missing_ok=True)
            (where / name).symlink_to(trap)
    (repository.folder / ".gitattributes").write_text("* filter=trap\n")
    (git / "config").write_text(_GIT_CONFIG.format(trap=trap, hooks=hooks))
    # A bare repository that came as files of the other one.
    bare = repository.folder / "bare"
    for name in ("objects", "refs"):
        (bare / name).mkdir(parents=True)
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    (bare / "config").write_text(_GIT_CONFIG.format(trap=trap, hooks=hooks))


def _fifo(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def _linked(target: Path) -> Callable[[Repository], None]:
    def link(repository: Repository) -> None:
        repository.file.unlink()
        repository.file.symlink_to(target)

    return link


def _folder(repository: Repository) -> None:
    repository.file.unlink()
    repository.file.mkdir()


def _socket(repository: Repository) -> None:
    repository.file.unlink()
    earlier = Path.cwd()
    # The name of a socket is short.
    os.chdir(repository.file.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(repository.file.name)
    finally:
        os.chdir(earlier)


def _linked_folder(repository: Repository) -> None:
    real = repository.folder / "real"
    repository.file.parent.rename(real)
    repository.file.parent.symlink_to(real)


def _huge(repository: Repository) -> None:
    with repository.file.open("r+b") as opened:
        opened.truncate(4 << 30)


UNREADABLE: dict[str, Callable[[Repository], None]] = {
    "a FIFO": lambda repository: _fifo(repository.file),
    "a link to the standard output": _linked(ENDLESS),
    "a link to an endless device": _linked(Path("/dev/zero")),
    "a link to a file": _linked(Path("/etc/hosts")),
    "a link to nothing": _linked(Path("/nowhere")),
    "a link to itself": _linked(Path("config.yml")),
    "a folder": _folder,
    "a socket": _socket,
    "a linked folder": _linked_folder,
    "4 GiB": _huge,
}
"""Configurations that can't be read."""

TOO_MUCH = {
    "deep lists": "[" * 30_000,
    "deep lists in lines": "[\n" * 30_000,
    "deep blocks": "- " * 30_000,
    "deep keys": "? " * 30_000,
    "deep mappings": "{a: " * 15_000,
    "deep names": "".join(f"{' ' * depth}a:\n" for depth in range(350)),
    "aliases of aliases": "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(500)),
    "anchors": "&a " * 20_000,
    "documents": "---\n" * 16_000,
    "many names": "".join(f"k{n}: 1\n" for n in range(6_000)),
    "many values": f"a: [{'b,' * 30_000}]",
    "a long number": f"metadata: {{a: {'1' * 60_000}}}",
    "a long number in another base": f"metadata: {{a: 0x{'f' * 60_000}}}",
    "a long time": f"metadata: {{a: {':'.join(['1'] * 30_000)}}}",
    "an empty number": "a: !!int ''",
    "a time that is none": "a: !!timestamp soon",
    "half a character": 'workspace_id: "\\ud800"',
    "half a character as a name": 'metadata: {"\\udfff": a}',
    "code": "a: !!python/object/apply:os.system [ls]",
}
"""Configurations that can be read, and cost too much or can't be understood."""


def _git_is_a_fifo(repository: Repository) -> None:
    (repository.folder / ".git").rename(repository.folder / "was.git")
    _fifo(repository.folder / ".git")


def _git_leads_away(repository: Repository) -> None:
    (repository.folder / ".git").rename(repository.folder / "was.git")
    (repository.folder / ".git").symlink_to(ENDLESS)


GIT: dict[str, Callable[[Repository], None]] = {
    ".git is a FIFO": _git_is_a_fifo,
    ".git leads to the standard output": _git_leads_away,
    ".git/HEAD is a FIFO": lambda repository: _fifo(repository.folder / ".git" / "HEAD"),
    ".git/config is a FIFO": lambda repository: _fifo(repository.folder / ".git" / "config"),
}
"""Repositories in which git itself would wait."""
