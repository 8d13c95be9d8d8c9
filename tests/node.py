"""Programs of the npm registry that test this server from outside; without Node or the registry they are skipped."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_INSTALLING = 120


def node(at_least: int) -> str:
    """A Node of at least this version: `KEITO_MCP_TEST_NODE`, else that of the PATH, else the test is skipped."""
    program = os.environ.get("KEITO_MCP_TEST_NODE") or shutil.which("node")
    if program is None:
        pytest.skip("Node isn't installed")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout
    version = re.match(r"v(\d+)", said)
    if version is None or int(version[1]) < at_least:
        pytest.skip(f"this needs Node {at_least}, and {said.strip()} is here")
    return program


def package(name: str, version: str, folder: Path) -> Path:
    """A package, installed into a folder; where that can't be done the test is skipped."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm isn't installed")
    done = subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), f"{name}@{version}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_INSTALLING,
    )
    if done.returncode:
        pytest.skip(f"{name} can't be installed: {done.stderr.strip()[:200]}")
    return folder / "node_modules" / name
