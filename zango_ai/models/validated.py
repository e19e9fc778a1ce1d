"""Configuration models that reject invalid values from code as well as from the admin."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from .timestamps import TimestampedModel

Ranges = Mapping[str, tuple[int, int]]
"""The smallest and the largest allowed value of each numeric field."""


def range_constraints(model: str, ranges: Ranges) -> list[models.BaseConstraint]:
    """Check constraints that also cover ``update()`` and ``bulk_create()``. They allow null."""
    return [
        models.CheckConstraint(condition=models.Q(**{f"{name}__range": limits}), name=f"zango_ai_{model}_{name}")
        for name, limits in ranges.items()
    ]


def choice_constraint(model: str, name: str, allowed: Iterable[str]) -> models.BaseConstraint:
    """A check constraint for a field with fixed choices."""
    condition = models.Q(**{f"{name}__in": list(allowed)})
    return models.CheckConstraint(condition=condition, name=f"zango_ai_{model}_{name}")


class ValidatedModel(TimestampedModel):
    """``save()`` and ``full_clean()`` reject invalid choices and numbers, and say which values are allowed."""

    RANGES: Ranges = {}

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        saved = kwargs.get("update_fields")
        names = {field.name for field in self._meta.concrete_fields}
        errors = dict(self._errors(names if saved is None else names & set(saved)))
        if errors:
            raise ValidationError(errors)
        super().save(*args, **kwargs)

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        errors: dict[str, Any] = {}
        try:
            super().clean_fields(exclude=exclude)
        except ValidationError as exc:
            errors = exc.update_error_dict(errors)
        names = {field.name for field in self._meta.concrete_fields}
        errors.update(self._errors(names - set(exclude or ()) - set(errors)))
        if errors:
            raise ValidationError(errors)

    @classmethod
    def allowed_values(cls, name: str) -> Collection[str]:
        """The choices of a field; empty if it has none."""
        choices = cls._meta.get_field(name).flatchoices  # type: ignore[union-attr]
        return [value for value, _label in choices]

    def _errors(self, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        """Name and error of each of these fields whose value is not allowed."""
        for field in self._meta.concrete_fields:
            value = self.__dict__.get(field.attname)
            is_expression = hasattr(value, "resolve_expression")
            if field.name in names and value is not None and not is_expression:
                error = self._error(field, value)
                if error is not None:
                    yield field.name, error

    def _error(self, field: Any, value: Any) -> Any:
        allowed = [] if field.is_relation else self.allowed_values(field.name)
        if allowed and str(value) not in allowed:
            return _("%(value)r is not allowed. Use one of: %(allowed)s.") % {
                "value": str(value),
                "allowed": ", ".join(allowed),
            }
        if field.name not in self.RANGES:
            return None
        smallest, largest = self.RANGES[field.name]
        if smallest <= field.to_python(value) <= largest:
            return None
        return _("%(value)s is not allowed. Use a number from %(smallest)s to %(largest)s.") % {
            "value": value,
            "smallest": smallest,
            "largest": largest,
        }
