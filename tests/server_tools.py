"""Tools that the tests' web servers know too."""

from zango_ai import tool


@tool(name="count_cots", description="Count.")
def count_cots(ward: str) -> int:
    if ward == "none":
        raise LookupError("no such ward")
    return 12


@tool(name="move_cot", description="Move.", requires_approval=True)
def move_cot(to: str) -> str:
    return f"moved to {to}"
