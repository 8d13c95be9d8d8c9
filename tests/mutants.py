"""Break each row of the step table on purpose, and show which test falls: `python tests/mutants.py`.

A row is broken by taking it out of the table. A mutant that no test notices survives, and the command ends with 1.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_TABLE = re.compile(r"^TABLE: tuple\[Row, \.\.\.\] = \(\n(.*?)^\)$", re.MULTILINE | re.DOTALL)
_TESTS = ["tests/timesheet/test_step.py", "tests/timesheet/test_step_worlds.py"]
_FALLEN = re.compile(r"^FAILED \S+::(\S+)", re.MULTILINE)


def _rows(source: str) -> list[str]:
    table = _TABLE.search(source)
    if table is None:
        raise SystemExit("the table is not where it was: TABLE in keito_mcp/timesheet/step.py")
    return re.findall(r"^    (\w+),$", table[1], re.MULTILINE)


def _without(row: str, source: str) -> str:
    return _TABLE.sub(lambda table: table[0].replace(f"    {row},\n", ""), source)


def _fallen(copy: Path) -> str | None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", *_TESTS]
    result = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=300)
    if result.returncode == 0:
        return None
    fallen = _FALLEN.search(result.stdout)
    return fallen[1] if fallen else f"not run: {result.stdout[-300:]}"


def main() -> int:
    """Print a line for each row; return 1 where one of them survives."""
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("keito_mcp", "tests"):
            shutil.copytree(_ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(_ROOT / "pyproject.toml", copy)
        step = copy / "keito_mcp" / "timesheet" / "step.py"
        source = step.read_text("utf-8")
        for row in _rows(source):
            step.write_text(_without(row, source), "utf-8")
            fallen = _fallen(copy)
            survived += fallen is None
            print(f"{row:28} {'SURVIVES' if fallen is None else fallen}")  # noqa: T201 -- a command's output
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
