"""What the package and its tests import is declared: nothing is there only because something else brings it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OWN = {"keito_mcp", "tests"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[^\w.-]", requirement)[0]) for listed in requirements for requirement in listed}


DEV = PROJECT["optional-dependencies"]["dev"]


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [("keito_mcp", declared(PROJECT["dependencies"])), ("tests", declared(PROJECT["dependencies"], DEV))],
)
def test_everything_that_is_imported_is_declared(folder: str, allowed: set[str]) -> None:
    brings = packages_distributions()
    modules = {name.split(".")[0] for file in (ROOT / folder).rglob("*.py") for name in imported(file)}
    foreign = modules - sys.stdlib_module_names - OWN
    undeclared = {name for name in foreign if not {normal(one) for one in brings.get(name, [])} & allowed}
    assert undeclared == set()


def test_every_dependency_is_explained_to_contributors() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## Dependencies", 1)[1]
    explained = {normal(name) for name in re.findall(r"`([\w.-]+)`", table)}
    assert declared(PROJECT["dependencies"]) <= explained
