"""Configuration that cannot be saved with a value that is not allowed, from code as from the admin."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import BaseValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from .timestamps import TimestampedModel

Ranges = Mapping[str, tuple[int, int]]
"""The smallest and the largest allowed value, by the name of the field."""


def within(smallest: int, largest: int) -> list[BaseValidator]:
    """Validators for a form."""
    return [MinValueValidator(smallest), MaxValueValidator(largest)]


def range_constraints(model: str, ranges: Ranges) -> list[models.BaseConstraint]:
    """Check constraints for the database, which ``update()`` and ``bulk_create()`` cannot pass. Null is allowed."""
    return [
        models.CheckConstraint(condition=models.Q(**{f"{name}__range": ends}), name=f"zango_ai_{model}_{name}")
        for name, ends in ranges.items()
    ]


def choice_constraint(model: str, name: str, allowed: Iterable[str]) -> models.BaseConstraint:
    """A check constraint for a field whose choices are fixed."""
    condition = models.Q(**{f"{name}__in": list(allowed)})
    return models.CheckConstraint(condition=condition, name=f"zango_ai_{model}_{name}")


class ValidatedModel(TimestampedModel):
    """``save()`` raises ValidationError for a choice or a number that is not allowed, and names what is."""

    RANGES: Ranges = {}

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        self._require_allowed(kwargs.get("update_fields"))
        super().save(*args, **kwargs)

    @classmethod
    def allowed_values(cls, name: str) -> Collection[str]:
        """What a field may hold; empty where that is not a fixed list."""
        choices = cls._meta.get_field(name).flatchoices  # type: ignore[union-attr]
        return [value for value, _label in choices]

    def _require_allowed(self, names: Collection[str] | None) -> None:
        problems: dict[str, Any] = {}
        for field in self._meta.concrete_fields:
            value = self.__dict__.get(field.attname)
            is_saved = names is None or field.name in names
            if is_saved and value is not None and not hasattr(value, "resolve_expression"):
                problem = self._problem_of(field, value)
                if problem is not None:
                    problems[field.name] = problem
        if problems:
            raise ValidationError(problems)

    def _problem_of(self, field: Any, value: Any) -> Any:
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
