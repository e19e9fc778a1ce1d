from __future__ import annotations

from typing import Any

from django.db.models import Func, IntegerField, QuerySet, Subquery
from django.db.models.functions import Coalesce


def count_of(rows: QuerySet[Any]) -> Coalesce:
    """The number of rows of a correlated query, for an annotation."""
    total = Func(function="count", template="count(*)", output_field=IntegerField())
    return Coalesce(Subquery(rows.order_by().annotate(total=total).values("total")), 0)
