"""Rows that know the schema they belong to, so that code does not use them in another tenant."""

from __future__ import annotations

from typing import Any, Self

from django.db import models

from .. import tenancy
from ..exceptions import WrongTenant


class TenantRow(models.Model):
    """A row that remembers the schema from which it was read, or in which it was saved."""

    class Meta:
        abstract = True

    _schema: str | None = None

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        row = super().from_db(*args, **kwargs)
        row._schema = tenancy.current_schema()
        return row

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        self._schema = tenancy.current_schema()

    @property
    def schema(self) -> str:
        """The schema of the row. The current one if the row is not saved yet."""
        return self._schema or tenancy.current_schema()

    def require_same_tenant(self) -> None:
        """Raise WrongTenant unless the row's schema is active."""
        current = tenancy.current_schema()
        if current != self.schema:
            noun = self._meta.model_name
            raise WrongTenant(
                current,
                f"{str(noun).capitalize()} {str(self)!r} belongs to schema {self.schema!r} and was used in "
                f"{current!r}. Call get_{noun}() in the tenant in which you use it.",
            )
