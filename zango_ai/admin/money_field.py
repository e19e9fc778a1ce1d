"""Amounts in forms as people write them: ``20``, not ``20.0000``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms


class MoneyInput(forms.NumberInput):
    """A number with a dollar sign before it."""

    template_name = "admin/zango_ai/includes/money_input.html"


class MoneyField(forms.DecimalField):
    """An amount in US dollars."""

    widget = MoneyInput

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Decimal) or not value.is_finite():
            return value
        short = f"{value.normalize():f}"
        cents = len(short.partition(".")[2])
        return f"{short}0" if cents == 1 else short
