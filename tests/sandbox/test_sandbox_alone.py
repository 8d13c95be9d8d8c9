"""The sandbox must be able to disagree with the client, so it shares nothing with it."""

import ast
from pathlib import Path

from keito_mcp import sandbox


def test_the_sandbox_imports_nothing_else_of_the_package() -> None:
    files = list(Path(sandbox.__file__).parent.glob("**/*.py"))
    imported = {
        name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in _imported_by(node)
        if name.split(".")[0] == "keito_mcp"
    }

    assert imported
    assert {name for name in imported if not name.startswith("keito_mcp.sandbox")} == set()


def _imported_by(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            return [node.module or ""]
        case _:
            return []
