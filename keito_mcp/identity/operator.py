"""What the operator fixed by `KEITO_*` settings."""

from keito_mcp.identity.facts import Call, Fact, Known


def known(call: Call) -> Known:
    """The identity settings that are set."""
    return {field: Fact(value, f"KEITO_{field.upper()}") for field, value in call.operator.items()}
