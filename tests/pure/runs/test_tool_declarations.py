"""What ``@tool`` makes of a function: its schema, its arguments, its results; and what it refuses."""

from __future__ import annotations

import enum
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from zango_ai import ToolParam, ToolSafety, tool
from zango_ai.exceptions import ToolDeclarationInvalid, ToolNotFound
from zango_ai.output import json_schema
from zango_ai.tools import registry, results
from zango_ai.tools.parameters import InvalidArguments


class Ward(enum.Enum):
    A = "a"
    B = "b"


@dataclass
class Dose:
    amount: Decimal
    unit: str = "mg"


class Drug(BaseModel):
    name: str
    doses: list[Dose] = []


@tool(description="Everything that a parameter can be.")
def everything(
    whole: int,
    part: float,
    text: str,
    yes: bool,
    items: list[int],
    table: dict[str, Any],
    day: date,
    moment: datetime,
    money: Decimal,
    key: UUID,
    ward: Ward,
    mode: Literal["fast", "slow"],
    drug: Drug,
    either: int | str,
    maybe: Optional[int] = None,  # noqa: UP045
    other: date | None = None,
    bounded: int = ToolParam("How many.", default=1, ge=1, le=9),
    noted: Annotated[str, Field(description="As pydantic says it.")] = "x",
    schema: str = "a name that models have a method of",
) -> dict[str, int]:
    return {}


GIVEN = {
    "whole": "5",
    "part": 1,
    "text": "t",
    "yes": True,
    "items": [1, "2"],
    "table": {"a": [None]},
    "day": "2026-11-25",
    "moment": "2026-11-25T10:00:00Z",
    "money": 0.10,
    "key": "00000000-0000-0000-0000-000000000007",
    "ward": "b",
    "mode": "slow",
    "drug": {"name": "x", "doses": [{"amount": "2.50"}]},
    "either": "7",
}


def test_arguments_are_checked_and_converted_to_what_the_function_takes():
    read = everything.tool.parameters.read(json.dumps(GIVEN))
    assert read["whole"] == 5
    assert read["items"] == [1, 2]
    assert read["day"] == date(2026, 11, 25)
    assert read["moment"].tzinfo is not None
    assert read["money"] == Decimal("0.1")
    assert read["key"] == UUID(int=7)
    assert read["ward"] is Ward.B
    assert read["drug"] == Drug(name="x", doses=[Dose(Decimal("2.50"))])
    assert read["either"] == "7"
    assert (read["maybe"], read["other"], read["bounded"], read["noted"]) == (None, None, 1, "x")


def test_the_schema_tells_types_descriptions_defaults_and_bounds():
    schema = everything.tool.parameters_schema
    properties = schema["properties"]
    assert list(properties) == list(everything.tool.parameters.read(json.dumps(GIVEN)))
    assert schema["required"] == list(GIVEN)
    assert schema["additionalProperties"] is False
    assert properties["day"] == {"type": "string", "format": "date"}
    assert properties["mode"] == {"type": "string", "enum": ["fast", "slow"]}
    assert properties["bounded"] == {
        "type": "integer", "description": "How many.", "default": 1, "minimum": 1, "maximum": 9
    }  # fmt: skip
    assert properties["noted"]["description"] == "As pydantic says it."
    assert schema["$defs"]["Ward"] == {"type": "string", "enum": ["a", "b"]}
    assert "title" not in json.dumps(schema)
    assert everything.tool.parameters.return_type == "dict[str, int]"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"whole": 1.5}, "whole"),
        ({"bounded": 10}, "bounded"),
        ({"drug": {"name": "x", "doses": [{}]}}, "drug.doses[0].amount"),
        ({"unknown": 1}, "unknown"),
        ({"mode": "other"}, "mode"),
    ],
)
def test_what_does_not_fit_is_told_by_its_place(change, reason):
    with pytest.raises(InvalidArguments) as caught:
        everything.tool.parameters.read(json.dumps({**GIVEN, **change}))
    assert any(reason in each for each in caught.value.reasons)


def test_every_reason_is_told_up_to_a_point():
    with pytest.raises(InvalidArguments) as caught:
        everything.tool.parameters.read(json.dumps({f"x{n}": n for n in range(100)}))
    assert len(caught.value.reasons) == 21
    assert caught.value.reasons[-1] == "and 94 more"


def test_a_decorated_function_stays_what_it_was():
    @tool(description="Add.")
    def add(first: int, second: int = ToolParam("More."), third: int = ToolParam(default=3)) -> int:
        """The docstring stays."""
        return first + second + third

    assert add(1, 2) == 6
    assert add(1, second=2, third=0) == 3
    assert add.__doc__ == "The docstring stays."
    assert add.__name__ == "add"
    with pytest.raises(TypeError, match="missing a required argument: 'second'"):
        add(1)
    with pytest.raises(TypeError):
        add(1, 2, 3, 4)


def test_a_default_is_a_new_one_at_each_call():
    @tool(description="Collect.")
    def collect(into: list[int] = []) -> list[int]:  # noqa: B006
        into.append(1)
        return into

    for _ in range(2):
        assert collect.tool.function(**collect.tool.parameters.read("{}")) == [1]


def test_the_docstring_describes_where_nothing_else_does():
    @tool
    def bare(x: int) -> int:
        """Do the one
        thing.

        Not this.
        """
        return x

    assert (bare.tool.name, bare.tool.description) == ("bare", "Do the one thing.")
    assert (bare.tool.safety, bare.tool.timeout_seconds, bare.tool.rate_limit) == (ToolSafety.READ_ONLY, 30.0, None)


async def wait() -> AsyncIterator[int]:
    """Wait."""
    yield 1


def unannotated(x):
    """Do."""


def scattered(*args: int) -> None:
    """Do."""


def named(**kwargs: int) -> None:
    """Do."""


def positional(x: int, /) -> None:
    """Do."""


def silent(x: int) -> None: ...


def spoken(x: int) -> None:
    """Do."""


@pytest.mark.parametrize(
    ("function", "said", "words"),
    [
        (silent, {}, "no description"),
        (silent, {"description": "  "}, "no description"),
        (unannotated, {}, "'x' without an annotation"),
        (scattered, {}, "*args"),
        (named, {}, "**kwargs"),
        (positional, {}, "positional-only"),
        (wait, {}, "async generator"),
        (spoken, {"name": "has a space"}, "name that vendors refuse"),
        (spoken, {"name": ""}, "name that vendors refuse"),
        (spoken, {"name": "x" * 65}, "name that vendors refuse"),
        (spoken, {"safety": "harmless"}, "safety"),
        (spoken, {"timeout_seconds": 0}, "timeout_seconds"),
        (spoken, {"timeout_seconds": float("inf")}, "timeout_seconds"),
        (spoken, {"rate_limit": -1}, "rate_limit"),
        (spoken, {"rate_limit": 1.5}, "rate_limit"),
        (spoken, {"memory_policy": "forget"}, "memory_policy"),
    ],
)
def test_a_wrong_declaration_is_an_error_that_names_file_and_line(function, said, words):
    with pytest.raises(ToolDeclarationInvalid) as caught:
        tool(**said)(function)
    assert words in str(caught.value)
    assert f"{Path(__file__)}:{function.__code__.co_firstlineno}:" in str(caught.value)
    assert isinstance(caught.value, TypeError)


def test_what_is_no_function_is_no_tool():
    class Callable:
        """Do."""

        def __call__(self, x: int) -> None: ...

    with pytest.raises(ToolDeclarationInvalid, match="decorate a function"):
        tool(name="callable")(Callable())
    with pytest.raises(TypeError, match="no argument minimum"):
        ToolParam("x", minimum=1)


def test_a_name_is_given_once():
    @tool(name="taken", description="First.")
    def first() -> None: ...

    with pytest.raises(ToolDeclarationInvalid, match=r"already used by .*first at .*test_tool_declarations.py:\d+"):

        @tool(name="taken", description="Second.")
        def second() -> None: ...

    assert registry.get("taken").description == "First."


def test_a_module_that_is_loaded_again_declares_its_tools_again(tmp_path):
    source = 'from zango_ai import tool\n@tool(description="{}")\ndef reloaded() -> None: ...\n'
    path = tmp_path / "tools.py"
    for description in ("Before.", "After."):
        exec(compile(source.format(description), str(path), "exec"), {"__name__": "some.tools"})
    assert registry.get("reloaded").description == "After."


def test_a_tool_that_is_not_declared_is_not_found():
    with pytest.raises(ToolNotFound) as caught:
        registry.get("nobody")
    assert caught.value.tool_name == "nobody"


# Allowed values


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@tool(description="Parameters that are limited to some values.")
def limited(
    text: str = ToolParam("Which.", enum=["a", "b"]),
    whole: int = ToolParam(enum=(1, 3)),
    mode: Literal["fast", "slow", "off"] = ToolParam(enum=["fast", "slow"]),
    ward: Ward = ToolParam(enum=[Ward.A]),  # noqa: B008
    level: Level = ToolParam(enum=[2]),  # noqa: B008
    day: date = ToolParam(enum=["2026-11-25"]),  # noqa: B008
    maybe: str | None = ToolParam(enum=["a"], default=None),
    either: int | str = ToolParam(enum=[1, "one"], default=1),
    items: list[str] = ToolParam(enum=["a", "b"], default=["a"], max_length=3),  # noqa: B008
    bare: list = ToolParam(enum=["a", 1], default=["a"]),  # noqa: B008
    wards: set[Ward] | None = ToolParam(enum=["a"], default=None),  # noqa: B008
    noted: Annotated[str, Field(min_length=1)] = ToolParam(enum=["x"], default="x"),
) -> str:
    return "done"


LIMITED = {"text": "a", "whole": 3, "mode": "slow", "ward": "a", "level": 2, "day": "2026-11-25"}


def test_the_schema_of_a_limited_parameter_lists_its_values():
    schema = limited.tool.parameters_schema
    properties = schema["properties"]
    assert properties["text"] == {"type": "string", "enum": ["a", "b"], "description": "Which."}
    assert properties["whole"] == {"type": "integer", "enum": [1, 3]}
    assert properties["mode"] == {"type": "string", "enum": ["fast", "slow"]}
    assert properties["ward"] == {"type": "string", "enum": ["a"]}
    assert properties["level"] == {"type": "integer", "enum": [2]}
    assert properties["day"] == {"type": "string", "format": "date", "enum": ["2026-11-25"]}
    assert properties["maybe"] == {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}], "default": None}
    assert properties["either"]["anyOf"] == [
        {"type": "integer", "enum": [1]},
        {"type": "string", "enum": ["one"]},
    ]
    assert properties["items"] == {
        "type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 3
    }  # fmt: skip
    assert properties["bare"]["items"] == {"enum": ["a", 1]}
    assert properties["noted"]["minLength"] == 1
    assert "$defs" not in schema
    assert json_schema.problem_of(schema) is None


def test_allowed_values_are_converted_as_ever():
    read = limited.tool.parameters.read(json.dumps(LIMITED))
    assert read["ward"] is Ward.A
    assert read["level"] is Level.HIGH
    assert read["day"] == date(2026, 11, 25)
    assert (read["maybe"], read["either"], read["items"], read["noted"]) == (None, 1, ["a"], "x")
    given = {**LIMITED, "maybe": None, "either": "one", "items": ["b", "a"], "bare": [1], "wards": ["a"]}
    read = limited.tool.parameters.read(json.dumps(given))
    assert (read["maybe"], read["either"], read["items"], read["wards"]) == (None, "one", ["b", "a"], {Ward.A})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": "c"}, "text: Value error, Use one of 'a', 'b'"),
        ({"text": "A"}, "text"),
        ({"whole": 2}, "whole"),
        ({"mode": "off"}, "mode"),
        ({"ward": "b"}, "ward"),
        ({"level": 1}, "level"),
        ({"maybe": "b"}, "maybe"),
        ({"either": "two"}, "either"),
        ({"items": ["a", "c"]}, "items[1]"),
        ({"bare": [True]}, "bare[0]"),
        ({"wards": ["b"]}, "wards"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(change, reason):
    with pytest.raises(InvalidArguments) as caught:
        limited.tool.parameters.read(json.dumps({**LIMITED, **change}))
    assert any(reason in each for each in caught.value.reasons)


def test_values_that_do_not_fit_the_parameter_are_a_wrong_declaration(monkeypatch):
    monkeypatch.setattr(registry, "_tools", dict(registry._tools))

    @tool(description="Do.")
    def unfit(x: int = ToolParam(enum=[1, "one"])) -> None: ...

    @tool(description="Do.")
    def default(x: str = ToolParam(enum=["a", "b"], default="c")) -> None: ...

    with pytest.raises(ToolDeclarationInvalid, match="enum has 'one'"):
        _ = unfit.tool.parameters
    with pytest.raises(ToolDeclarationInvalid, match="default 'c' is not in enum"):
        _ = default.tool.parameters
    for wrong in ("ab", 1, []):
        with pytest.raises(TypeError, match="enum"):
            ToolParam(enum=wrong)


# Results

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=10), inner, max_size=12),
    max_leaves=120,
)


@given(VALUES, st.integers(1_000, 3_000))
def test_a_result_that_was_cut_is_json_of_the_size_that_was_asked_for(value, limit):
    whole = results.to_text(value)
    cut = results.truncate(value, limit)
    if len(json.dumps(value, ensure_ascii=False)) <= limit:
        assert cut == value
    else:
        assert len(results.to_text(cut)) <= limit
        assert "cut" in results.to_text(cut) or "left out" in results.to_text(cut)
    assert isinstance(whole, str)


def test_small_values_stay_whole_beside_a_large_one():
    value = {"large": "x" * 10_000, "id": 7, "rows": [{"n": n} for n in range(5)], "last": "here"}
    cut = results.truncate(value, 1_000)
    assert {**cut, "large": ""} == {**value, "large": ""}
    assert cut["large"].endswith("of 10000 characters are missing]")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"at": date(2026, 1, 2), "key": UUID(int=1)}, {"at": "2026-01-02", "key": str(UUID(int=1))}),
        (Decimal("12.50"), "12.50"),
        (Dose(Decimal("1.0")), {"amount": "1.0", "unit": "mg"}),
        (Drug(name="x"), {"name": "x", "doses": []}),
        ((1, {2}), [1, [2]]),
        (Ward.A, "a"),
        ({"x": float("inf")}, {"x": "Infinity"}),
    ],
)
def test_results_become_plain_json(value, expected):
    assert results.to_json_value(value) == expected


def test_what_has_no_form_in_json_is_refused():
    nested: Any = []
    for _ in range(100):
        nested = [nested]
    for value in (object(), nested, {"x": lambda: 1}):
        with pytest.raises((TypeError, ValueError)):
            results.to_json_value(value)
