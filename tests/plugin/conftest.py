from pathlib import Path

import pytest

from tests.plugin.files import Plugin


@pytest.fixture
def plugin(repository_root: Path) -> Plugin:
    return Plugin(repository_root / ".claude-plugin" / "keito")
