"""Parts of a configuration file, which know their path and collect what is wrong with them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from .. import sanitize
from ..argument_checks import did_you_mean, type_of


class InvalidFile(ValueError):
    """The file cannot be imported. ``problems`` has one line for each error, with the path in the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Part:
    """One value of the file. All parts of a file share their list of problems."""

    def __init__(self, value: Any, path: str = "", problems: list[str] | None = None) -> None:
        self.value = value
        self.path = path
        self.problems: list[str] = [] if problems is None else problems

    def report(self, problem: object, key: object = None) -> None:
        """Add a problem of this part, or of its entry ``key``."""
        path = self.path if key is None else self.path_below(key)
        self.problems.append(f"{path}: {problem}" if path else str(problem))

    def report_invalid(self, error: ValidationError) -> None:
        """Add the problems that a model's validation found, at their fields."""
        by_field = error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
        for field, messages in by_field.items():
            for message in messages:
                key = field if isinstance(self.value, Mapping) and field in self.value else None
                named = f"{field}: {message}" if key is None and field not in ("__all__", "name") else message
                self.report(named, key)

    def has_problems(self) -> bool:
        """Whether this part, or a part of it, was reported."""
        return any(re.match(rf"{re.escape(self.path)}[.:\[]", problem) for problem in self.problems)

    def entries(self, allowed: Collection[str] | None = None) -> dict[Any, Part]:
        """The entries of a mapping. Reports other values, and keys that are not ``allowed``."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            self.report(f"must be a mapping. This value is {type_of(self.value)}.")
            return {}
        parts = {}
        for key, value in self.value.items():
            if allowed is not None and key not in allowed:
                self.report(f"is not known here.{did_you_mean(str(key), allowed)}", key)
            else:
                parts[key] = Part(value, self.path_below(key), self.problems)
        return parts

    def named_entries(self) -> dict[str, Part]:
        """The entries of a mapping whose keys are names."""
        named = {}
        for key, part in self.entries().items():
            if not isinstance(key, str):
                self.report("must be text. Put the name in quotation marks.", key)
            elif problem := _problem_of_text(key):
                self.report(problem, json.dumps(key)[1:-1])
            else:
                named[key] = part
        return named

    def items(self) -> Iterator[Part]:
        """The items of a list. Reports another value."""
        if not isinstance(self.value, list):
            self.report(f"must be a list. This value is {type_of(self.value)}.")
            return
        for index, item in enumerate(self.value):
            yield Part(item, f"{self.path}[{index}]", self.problems)

    def text(self) -> str | None:
        """The text. Reports another value and returns None."""
        problem = _problem_of_text(self.value)
        if problem:
            self.report(problem)
        return None if problem else self.value

    def for_field(self, field: Any) -> Any:
        """The value as the model's field takes it. Raises Skipped after it has reported a wrong type."""
        problem = _problem_of(field, self.value)
        if problem:
            self.report(problem)
            raise Skipped
        is_decimal = isinstance(field, models.DecimalField) and self.value is not None
        return field.to_python(str(self.value)) if is_decimal else self.value

    def path_below(self, key: object) -> str:
        """The path of the entry ``key``."""
        name = str(key)
        quoted = json.dumps(name, ensure_ascii=False) if "." in name or " " in name or not name else name
        return f"{self.path}.{quoted}" if self.path else quoted


class Skipped(Exception):
    """This value was reported and is not applied."""


def _problem_of(field: Any, value: Any) -> str | None:
    """Why the field does not take a value of this type."""
    if value is None:
        return None if field.null else "must not be null."
    if isinstance(field, models.JSONField):
        return _problem_of_json(value)
    if isinstance(field, models.BooleanField):
        return None if isinstance(value, bool) else f"must be true or false. This value is {_shown(value)}."
    if isinstance(field, models.IntegerField):
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        return None if is_integer else f"must be a whole number. This value is {_shown(value)}."
    if isinstance(field, (models.FloatField, models.DecimalField)):
        return None if _is_number(value) else f"must be a number. This value is {_shown(value)}."
    return _problem_of_text(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _problem_of_text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"must be text. This value is {_shown(value)}; put text in quotation marks."
    if sanitize.text(value) != value:
        return "contains characters that the database cannot store."
    return None


def _problem_of_json(value: Any) -> str | None:
    try:
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        same = False
    return None if same else "is not JSON. Put keys that are not text in quotation marks."


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, (bool, int, float)) or value is None else type_of(value)
