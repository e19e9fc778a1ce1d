"""The models, from Django's metadata."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import models
from django.db.models import NOT_PROVIDED

from zango_ai import models as ours
from zango_ai.encryption.fields import CredentialsField, OrderedJSONField

from .markdown import attribute_docs, code, line, table

_CONFIGURATION = (
    ours.Provider,
    ours.ProviderModel,
    ours.Prompt,
    ours.PromptVersion,
    ours.AgentConfig,
    ours.Fallback,
    ours.Tool,
)
_LOG = (
    ours.Invocation,
    ours.InvocationRound,
    ours.ToolCall,
    ours.InvocationFile,
    ours.MemorySession,
    ours.MemoryMessage,
)
_TYPES: dict[type, str] = {
    models.BooleanField: "true or false",
    models.CharField: "text",
    models.TextField: "text",
    models.DateTimeField: "date and time",
    models.DateField: "date",
    models.DecimalField: "decimal",
    models.FloatField: "number",
    models.IntegerField: "whole number",
    models.UUIDField: "UUID",
    models.JSONField: "JSON",
    OrderedJSONField: "JSON",
    CredentialsField: "encrypted JSON",
    models.FileField: "file",
    models.BinaryField: "bytes",
}
_DEFAULT = re.compile(r" Default: \S+\.$")


def configuration() -> str:
    return _sections(_CONFIGURATION)


def log() -> str:
    return _sections(_LOG)


def ledger() -> str:
    """The models that the package keeps for itself: one line each."""
    every = [getattr(ours, name) for name in ours.__all__]
    others = [model for model in every if model not in {*_CONFIGURATION, *_LOG}]
    return table(["model", "rows"], [(code(model.__name__), line(model.__doc__)) for model in others])


def limits() -> str:
    rows = []
    for model in _CONFIGURATION:
        fields = [(field.name, allowed) for field in model._meta.fields if (allowed := _allowed(model, field))]
        for name, allowed in fields:
            rows.append((code(model.__name__) if name == fields[0][0] else "", code(name), allowed))
    return table(["model", "field", "allowed"], rows)


def _sections(chosen: Iterable[type[models.Model]]) -> str:
    return "\n\n".join(_section(model) for model in chosen)


def _section(model: type[models.Model]) -> str:
    header = ["field", "type", "default", "meaning"]
    rows = [_row(model, field) for field in sorted(_public_fields(model), key=_is_inherited)]
    unique = [_unique(constraint) for constraint in model._meta.constraints]
    return "\n\n".join([f"### {model.__name__}", line(model.__doc__), table(header, rows), *filter(None, unique)])


def _public_fields(model: type[models.Model]) -> list[Any]:
    fields = [*model._meta.fields, *model._meta.many_to_many]
    return [field for field in fields if field.editable and not field.primary_key]


def _is_inherited(field: Any) -> bool:
    abstract = (base for base in field.model.__mro__ if getattr(getattr(base, "_meta", None), "abstract", False))
    return any(field.name == other.name for base in abstract for other in base._meta.fields)


def _row(model: type[models.Model], field: Any) -> tuple[str, ...]:
    return code(field.name), _type(field), _default(field), _meaning(model, field)


def _type(field: Any) -> str:
    if field.is_relation:
        many = "any number of " if field.many_to_many else ""
        return f"{many}[`{field.related_model.__name__}`](#{field.related_model.__name__.lower()})"
    kind = next((_TYPES[base] for base in type(field).__mro__ if base in _TYPES), type(field).__name__)
    if isinstance(field, models.CharField) and not field.choices:
        kind = f"{kind} ({field.max_length})" if field.max_length else kind
    return kind + ", unique" * (field.unique and not field.primary_key)


def _default(field: Any) -> str:
    if field.default is NOT_PROVIDED:
        return code(None) if field.null else code('""') * (field.blank and not field.many_to_many)
    made = {dict: "{}", list: "[]"}.get(field.default)
    if callable(field.default):
        return code(made) if made else "generated"
    shown = getattr(field.default, "value", field.default)  # of a choice
    return code(repr(shown).replace("'", '"'))


def _meaning(model: type[models.Model], field: Any) -> str:
    text = _DEFAULT.sub("", line(str(field.help_text))) or _attribute_doc(model, field.name) or _label(field)
    allowed = _allowed(model, field)
    return " ".join(filter(None, [text, f"Allowed: {allowed}." if allowed else ""]))


def _attribute_doc(model: type[models.Model], name: str) -> str:
    ancestors = (base for base in model.__mro__ if base.__module__.startswith("zango_ai"))
    return next((line(attribute_docs(base)[name]) for base in ancestors if name in attribute_docs(base)), "")


def _label(field: Any) -> str:
    """The field's name in the admin, unless it only repeats the name in code."""
    label = str(field.verbose_name)
    return "" if label.lower() == field.name.replace("_", " ") else f"{label[:1].upper()}{label[1:]}."


def _allowed(model: type[models.Model], field: Any) -> str:
    smallest, largest = getattr(model, "RANGES", {}).get(field.name, (None, None))
    if largest is not None:
        return f"{smallest:,} to {largest:,}"
    return ", ".join(code(value) for value in _choices(field)) if field.name != "kind" else ""


def _choices(field: Any) -> Iterator[object]:
    return (value for value, _label in (field.flatchoices if not field.is_relation else ()))


def _unique(constraint: Any) -> str:
    if not isinstance(constraint, models.UniqueConstraint) or not constraint.fields:
        return ""
    names = " and ".join(code(name) for name in constraint.fields)
    return f"Unique together: {names}." if len(constraint.fields) > 1 else ""
