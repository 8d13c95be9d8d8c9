"""Files that hold what the code says of itself. A change of them is a change for users, so it is made on purpose:

ACCEPT=1 python -m pytest tests/test_tools.py tests/test_readme.py
"""

import os
from pathlib import Path

HOW_TO_ACCEPT = "If this change is meant, accept it: ACCEPT=1 python -m pytest tests/test_tools.py tests/test_readme.py"


def is_accepted(file: Path, content: str) -> bool:
    """Whether a file holds exactly this; with ACCEPT=1 it does from now on."""
    if os.environ.get("ACCEPT") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, "utf-8")
    return file.exists() and file.read_text("utf-8") == content
