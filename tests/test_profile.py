import subprocess
import sys
from pathlib import Path

from tests.processes import environment

_ASKS = """
from tests.profile import profile

def test_asks():
    print("asked:", profile().operations, profile().kills, profile().is_random)
"""


def test_a_test_runs_as_long_as_the_profile_says_that_the_run_was_started_with(
    repository_root: Path, tmp_path: Path
) -> None:
    # With the fixtures of all tests, which take such settings away.
    asks = tmp_path / "test_asks.py"
    asks.write_text(_ASKS)
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", str(asks)],
        env=environment(KEITO_MCP_TEST_PROFILE="soak", PYTHONPATH=str(repository_root)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "asked: 50000 300 True\n" in done.stdout, done.stdout + done.stderr
