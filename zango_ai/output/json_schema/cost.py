"""An upper bound of the work of validating a value against a schema, without doing that work.

jsonschema_rs holds the GIL while it validates, so nothing can interrupt it. One unit is about 50 ns of its time.

For each depth of the value, ``_PerDepth`` counts how often each subschema may be applied to one node at that depth.
A recursive schema has no bound that is independent of the value's depth, so the counts are made depth by depth.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from ..json_limits import MAX_DEPTH
from . import patterns
from .subschemas import Applied, Document

MAX_UNITS = 20_000_000
"""About one second."""

_UNITS_PER_FORMAT_CHAR = 4
_UNITS_PER_UNIQUE_ITEM = 20
_UNITS_PER_COMPARED_NODE = 4
_UNITS_PER_COMPARED_WORD = 18
_BITS_WITH_OWN_HASH = 53
"""uniqueItems: jsonschema_rs hashes a larger integer as a float, so it has to compare many of them."""
_UNITS_PER_DIVISION = 400
_UNITS_PER_EXTREME_DIVISION = 1_000
_SMALLEST_ORDINARY_DIVISOR = 1e-20
_BITS_PER_UNIT = 64
_CHARS_PER_UNIT = 8


class TooDeep(Exception):
    """The value or the schema is nested more than ``MAX_DEPTH`` levels deep."""


@dataclass(frozen=True, slots=True)
class Level:
    """The size of a value at one depth."""

    nodes: int
    chars: int
    """In strings at this depth, and in the keys of objects at this depth and the one above."""
    below: int
    """Units at this depth and below."""
    collisions: int
    """Units to compare all deeper values with each other, as far as large integers in them make it necessary."""


def levels_of(value: Any) -> list[Level]:
    """Raises TooDeep."""
    sizes: list[_Size] = []
    nodes, keys_above = [value], 0
    while nodes:
        if len(sizes) > MAX_DEPTH:
            raise TooDeep
        children: list[Any] = []
        units, chars, keys = len(nodes), 0, 0
        colliding: list[int] = []
        for node in nodes:
            if isinstance(node, str):
                chars += len(node)
            elif isinstance(node, dict):
                children += node.values()
                keys += sum(map(len, node))
            elif isinstance(node, list):
                children += node
            elif isinstance(node, int):
                units += node.bit_length() // _BITS_PER_UNIT
                if node.bit_length() > _BITS_WITH_OWN_HASH:
                    colliding.append(_units_of_comparison(node))
        sizes.append(_Size(units, chars + keys + keys_above, len(colliding), sum(colliding)))
        nodes, keys_above = children, keys
    return _with_sums(sizes)


def _units_of_comparison(integer: int) -> int:
    bits = integer.bit_length()
    return (
        _UNITS_PER_COMPARED_NODE
        if bits < _BITS_PER_UNIT
        else _UNITS_PER_COMPARED_WORD * (bits // _BITS_PER_UNIT + 1)
    )


class _Size(NamedTuple):
    """What a value holds at one depth, without sums."""

    units: int
    chars: int
    colliding: int
    """Integers that jsonschema_rs gives the same hash as others."""
    colliding_units: int
    """To compare each of them once."""


def _with_sums(sizes: list[_Size]) -> list[Level]:
    levels: list[Level] = []
    below = colliding = colliding_units = 0
    for size in reversed(sizes):
        collisions = colliding * (below * _UNITS_PER_COMPARED_NODE + colliding_units)
        below += size.units + size.chars // _CHARS_PER_UNIT
        colliding += size.colliding
        colliding_units += size.colliding_units
        levels.append(Level(size.units, size.chars, below, collisions))
    return levels[::-1]


def units_of(schema_text: str, levels: list[Level]) -> int:
    """The bound for a value with these levels. Above ``MAX_UNITS`` it is not exact."""
    units = 0
    nodes_below = [level.nodes for level in levels[1:]] + [0]
    for level, children, bound in zip(levels, nodes_below, _per_depth(schema_text), strict=False):
        units += level.nodes * bound.per_node + level.chars * bound.per_char + level.below * bound.per_unit_below
        units += children * bound.schemas + level.collisions * bound.per_collision
        if units > MAX_UNITS:
            break
    return units


@lru_cache(64)
def _per_depth(schema_text: str) -> _PerDepth:
    return _PerDepth(json.loads(schema_text))


@dataclass(frozen=True, slots=True)
class _Bound:
    """The maximum work for one node at one depth."""

    schemas: int
    per_node: int
    per_char: int
    per_unit_below: int
    per_collision: int


class _PerDepth:
    """The bounds of a schema for depth 0, 1, ..., computed on demand and cached."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._document = Document(schema)
        self._parts: dict[int, _Part] = {}
        self._bounds: list[_Bound] = []
        self._next: dict[int, tuple[Any, int]] = {id(schema): (schema, 1)}

    def __iter__(self) -> Iterator[_Bound]:
        for depth in range(MAX_DEPTH + 1):
            if depth == len(self._bounds):
                self._bounds.append(self._bound_of_next_depth())
            yield self._bounds[depth]

    def _bound_of_next_depth(self) -> _Bound:
        counted = self._in_place()
        self._next = _children(counted)
        return _Bound(
            sum(count for _, count in counted),
            sum(part.per_node * count for part, count in counted),
            sum(part.per_char * count for part, count in counted),
            sum(part.per_unit_below * count for part, count in counted),
            sum(part.per_collision * count for part, count in counted),
        )

    def _in_place(self) -> list[tuple[_Part, int]]:
        """The subschemas that are applied to one node, and how often."""
        counts: Counter[int] = Counter()
        order: dict[int, _Part] = {}
        for schema, _ in self._next.values():
            self._visit(schema, order, set())
        for key, (_, count) in self._next.items():
            counts[key] += count
        counted = []
        for key, part in reversed(order.items()):  # each subschema comes after all that apply it
            counted.append((part, counts[key]))
            for subschema in part.applied.in_place:
                counts[id(subschema)] += counts[key] * part.factor
        return counted

    def _visit(self, schema: Any, order: dict[int, _Part], in_progress: set[int]) -> None:
        """Append the schema to ``order``, after the subschemas that it applies in place."""
        key = id(schema)
        if key in order or key in in_progress or not isinstance(schema, Mapping):
            return
        part = self._parts.get(key) or self._parts.setdefault(key, _part(schema, self._document))
        in_progress.add(key)
        for subschema in part.applied.in_place:
            self._visit(subschema, order, in_progress)
        order[key] = part


def _children(counted: list[tuple[_Part, int]]) -> dict[int, tuple[Any, int]]:
    """The subschemas that are applied to one child, and the maximum count over all children."""
    schemas: dict[int, Any] = {}
    to_any: Counter[int] = Counter()
    by_name: defaultdict[str | int, Counter[int]] = defaultdict(Counter)
    for part, count in counted:
        for schema in part.applied.any_child:
            schemas[id(schema)] = schema
            to_any[id(schema)] += count
        for name, schema in part.applied.by_name:
            schemas[id(schema)] = schema
            by_name[name][id(schema)] += count
    most: Counter[int] = Counter()
    for counts in by_name.values():
        most |= counts  # the larger of two counts
    return {key: (schemas[key], count) for key, count in (to_any + most).items()}


@dataclass(frozen=True, slots=True)
class _Part:
    """One subschema: what it applies, and its own cost."""

    applied: Applied
    factor: int
    """How often it applies a subschema in place: twice if it has an ``unevaluated...`` keyword."""
    per_node: int
    per_char: int
    per_unit_below: int
    per_collision: int


def _part(schema: Mapping[str, Any], document: Document) -> _Part:
    texts = [schema["pattern"]] if "pattern" in schema else []
    texts += schema.get("patternProperties", ())
    per_char = sum(patterns.units_per_char(text) or 0 for text in texts)
    compared = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
    compared = [value for value in compared if isinstance(value, (list, dict))]
    return _Part(
        document.applied_by(schema),
        2 if schema.keys() & {"unevaluatedItems", "unevaluatedProperties"} else 1,
        per_node=_own_size(schema)
        + _units_per_division(schema.get("multipleOf"))
        + _UNITS_PER_COMPARED_NODE * sum(map(_nodes_of, compared)),
        per_char=per_char + _UNITS_PER_FORMAT_CHAR * ("format" in schema),
        per_unit_below=_UNITS_PER_UNIQUE_ITEM * bool(schema.get("uniqueItems")) + bool(compared),
        per_collision=int(bool(schema.get("uniqueItems"))),
    )


def _units_per_division(divisor: float | None) -> int:
    if divisor is None:
        return 0
    return _UNITS_PER_DIVISION if divisor >= _SMALLEST_ORDINARY_DIVISOR else _UNITS_PER_EXTREME_DIVISION


def _own_size(schema: Mapping[str, Any]) -> int:
    """The number of keywords and their entries, without subschemas and values to compare with."""
    return 1 + sum(
        len(schema[key]) if isinstance(schema[key], (list, dict)) else 1
        for key in schema.keys() - {"enum", "$defs", "definitions", "examples"}
    )


def _nodes_of(value: Any) -> int:
    count, stack = 0, [value]
    while stack:
        node = stack.pop()
        count += 1
        if isinstance(node, (dict, list)):
            stack += node.values() if isinstance(node, dict) else node
    return count
