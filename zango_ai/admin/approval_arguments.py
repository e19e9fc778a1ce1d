"""A field for each argument of a tool call, so that a person can change it before approving the call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from . import formats
from .tool_parameters import parameters_of

_MISSING: Any = object()
_MANY_ROWS = 6
_CHARS_PER_ROW = 80


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: what the model asks for, and how a person may write it."""

    name: str
    type: str
    """In words, such as ``list of string``."""
    description: str
    schema: Mapping[str, Any]
    is_required: bool
    value: Any = _MISSING
    """``_MISSING`` if the model left it out."""

    @property
    def is_given(self) -> bool:
        return self.value is not _MISSING

    @property
    def text(self) -> str:
        """The value as staff read and edit it."""
        if not self.is_given:
            return ""
        is_plain = isinstance(self.value, str) and not self.choices
        return self.value if is_plain else json.dumps(self.value, ensure_ascii=False)

    @property
    def shown(self) -> str:
        return self.value if isinstance(self.value, str) else self.text

    @property
    def is_text(self) -> bool:
        return self._type.get("type") == "string"

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The only values, as JSON and as text; empty if there are many."""
        values = [True, False] if self._type.get("type") == "boolean" else self._type.get("enum") or []
        words = {True: gettext("yes"), False: gettext("no")}
        return [
            (json.dumps(each), str(words[each]) if isinstance(each, bool) else str(each))
            for each in values
        ]  # fmt: skip

    @property
    def _type(self) -> Mapping[str, Any]:
        """The schema, without null as an alternative."""
        options = [each for each in self.schema.get("anyOf", ()) if each.get("type") != "null"]
        return options[0] if len(options) == 1 else self.schema

    def field(self) -> forms.Field:
        label = f"{self.name} *" if self.is_required else self.name
        common: dict[str, Any] = {"label": label, "required": False, "initial": self.text}
        if self.choices:
            blank = [] if self.is_required else [("", formats.NOTHING)]
            return forms.ChoiceField(choices=[*blank, *self.choices], **common)
        if self._type.get("type") in {"integer", "number"}:
            return forms.CharField(widget=forms.TextInput(attrs={"inputmode": "decimal"}), **common)
        rows = sum(1 + len(line) // _CHARS_PER_ROW for line in self.text.split("\n"))
        attrs: dict[str, Any] = {"rows": min(max(rows, 1), _MANY_ROWS), "cols": 40}
        if not self.is_text:
            attrs["class"] = "za-mono"
        return forms.CharField(widget=forms.Textarea(attrs=attrs), strip=False, **common)

    def read(self, text: str, original: Any) -> Any:
        """The value of what a person wrote; ``original`` if it is unchanged. Raises ValidationError."""
        text = text.replace("\r\n", "\n")
        if text == self.text.replace("\r\n", "\n"):
            return original
        if not text.strip() and not (self.is_text and self.is_required):
            return _MISSING
        if self.is_text and not self.choices:
            return text
        try:
            return json.loads(text)
        except ValueError:
            message = _("Write this as JSON (%(type)s), for example with double quotes around texts.")
            raise forms.ValidationError(message, params={"type": self.type}) from None


def arguments_of(schema: Any, arguments: Any) -> list[Argument]:
    """The call's arguments in the order of the tool's parameters. Without a schema, those that the model gave."""
    given = arguments if isinstance(arguments, dict) else {}
    properties = schema.get("properties", {}) if isinstance(schema, Mapping) else {}
    definitions = schema.get("$defs", {}) if isinstance(schema, Mapping) else {}
    known = [
        Argument(
            name=each.name,
            type=each.type,
            description=each.description,
            schema=_resolved(properties[each.name], definitions),
            is_required=each.is_required,
            value=given.get(each.name, _MISSING),
        )
        for each in parameters_of(schema)
    ]
    names = {each.name for each in known}
    unknown = [Argument(name, "", "", {}, False, value) for name, value in given.items() if name not in names]
    return [*known, *unknown]


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an enum in place of a reference to it."""
    reference = schema.get("$ref", "")
    target = definitions.get(str(reference).rsplit("/", 1)[-1]) or {}
    return target if "enum" in target else schema


def changed(arguments: list[Argument], texts: Mapping[str, str], originals: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a person wrote. Raises ValidationError with a message by the argument's name."""
    values, problems = {}, {}
    for argument in arguments:
        try:
            value = argument.read(texts.get(argument.name, ""), originals.get(argument.name, _MISSING))
        except forms.ValidationError as exc:
            problems[argument.name] = exc
            continue
        if value is not _MISSING:
            values[argument.name] = value
    if problems:
        raise forms.ValidationError(problems)
    return values


def names_of_changes(before: Any, after: Any) -> Iterator[str]:
    """The names of arguments that differ."""
    before = before if isinstance(before, dict) else {}
    for name in [*before, *(name for name in after if name not in before)]:
        if before.get(name, _MISSING) != after.get(name, _MISSING):
            yield name
