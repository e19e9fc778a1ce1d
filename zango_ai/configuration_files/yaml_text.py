"""YAML as configuration files use it: the safe types of JSON, and no key twice.

As in YAML 1.2, only ``true`` and ``false`` are booleans, and dates are text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from decimal import Decimal
from itertools import chain
from typing import Any

import yaml

_MERGE, _NULL, _BOOL = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT, _TEXT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:str"
_RESOLVERS = (
    (_MERGE, r"<<", "<"),
    (_NULL, r"~|null|Null|NULL|", ("~", "n", "N", "")),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_INT, r"0|-?[1-9][0-9]*", "-0123456789"),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
)
_MAX_NODES = 1_000_000
"""The size of a document with each alias (``*name``) counted as what it stands for."""
_WIDTH = 1_000_000
"""No text is folded: a change of one word is a change of one line."""


class InvalidYAML(ValueError):
    """The text is not YAML, or uses a feature that configuration files do not have."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[Any, Any] = {}

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _size(node, {}) > _MAX_NODES:
            raise yaml.YAMLError("its aliases (*name) repeat too much, so write the values out")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _value in node.value:
            key = (key_node.tag, str(key_node.value))
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _size(node: yaml.Node, sizes: dict[int, float]) -> float:
    """How many nodes there are in this one. A node that contains itself has infinitely many."""
    key = id(node)
    if key not in sizes:
        sizes[key] = math.inf
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        children = chain.from_iterable(inner) if isinstance(node, yaml.MappingNode) else inner
        sizes[key] = 1 + sum(_size(child, sizes) for child in children)
    return sizes[key]


class _Dumper(yaml.SafeDumper):
    """Quotes any text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(_TEXT, text, style="|" if "\n" in text else None)


def _represent_decimal(dumper: yaml.SafeDumper, value: Decimal) -> yaml.ScalarNode:
    text = f"{value.normalize():f}"
    return dumper.represent_scalar(_FLOAT if "." in text else _INT, text)


for tag, pattern, first in _RESOLVERS:
    _Loader.add_implicit_resolver(tag, re.compile(rf"(?:{pattern})\Z"), list(first))
    _Dumper.add_implicit_resolver(tag, re.compile(rf"(?:{pattern})\Z"), list(first))
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Decimal, _represent_decimal)


def dump(document: Any) -> str:
    """``document`` as YAML. Mappings keep their order, and long texts their line breaks."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def load(text: str) -> Any:
    """The value of a YAML text with one document. Raises InvalidYAML, which names the line."""
    try:
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidYAML(f"{where}{exc.problem or exc.context}.") from exc
    except RecursionError:
        raise InvalidYAML("it is nested too deeply.") from None
    except (yaml.YAMLError, ValueError) as exc:
        raise InvalidYAML(f"{exc}.") from exc
