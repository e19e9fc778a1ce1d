from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import tenancy
from ..ledger.money import format_usd
from ..models import Spend
from . import components
from .access import TenantOnly, ViewOnly
from .formats import in_language
from .panel import PanelAdmin


class ShowsSpend(TenantOnly):
    """Shows the spend of a provider or an agent in its current budget month."""

    spend_owner = ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return with_spend(super().get_queryset(request), self.spend_owner)

    @admin.display(description=_("budget this month"))
    def this_month(self, row: Any) -> SafeString | str:
        """A bar of what is spent and reserved."""
        if row.pk is None:
            return "-"
        spend = current_spend(row)
        meter = components.budget_meter(spend.spent_usd, spend.limit_usd, spend.reserved_usd)
        if not spend.unknown_calls:
            return meter
        text = gettext("calls of unknown cost: %(count)d") % {"count": spend.unknown_calls}
        return format_html('{}<span class="za-quiet">{}</span>', meter, text)


def with_spend(rows: QuerySet[Any], owner: str) -> QuerySet[Any]:
    """Annotate providers or agents with the spend of their latest budget month, for ``current_spend()``."""
    latest = Spend.objects.filter(owner=owner, owner_id=OuterRef("pk")).order_by("-month_start")
    names = ("month_start", "spent_usd", "reserved_usd", "unknown_calls")
    annotated: QuerySet[Any] = rows.annotate(
        **{f"latest_{name}": Subquery(latest.values(name)[:1]) for name in names}
    )
    return annotated


@dataclass(frozen=True, slots=True)
class CurrentSpend:
    """What an owner has spent in its current budget month, of what."""

    limit_usd: Decimal | None
    spent_usd: Decimal = Decimal(0)
    reserved_usd: Decimal = Decimal(0)
    unknown_calls: int = 0


def current_spend(row: Any) -> CurrentSpend:
    """The spend of a row of ``with_spend()``."""
    from ..ledger import months
    from ..models.specs import budget_of

    budget = budget_of(vars(row))
    month = months.current_month_start(budget, tenancy.current_schema())
    if getattr(row, "latest_month_start", None) != month:
        return CurrentSpend(budget.limit_usd)
    return CurrentSpend(budget.limit_usd, row.latest_spent_usd, row.latest_reserved_usd, row.latest_unknown_calls)


@admin.register(Spend)
class SpendAdmin(PanelAdmin, ViewOnly, admin.ModelAdmin):
    panel_lead = _("What each provider and agent has cost in each budget month.")
    list_display = ["owner_name", "owner", "month_start", "spent", "reserved", "unknown_calls", "alerted_at"]
    list_filter = ["owner", "month_start"]
    search_fields = ["owner_name"]
    fields = readonly_fields = (
        *("owner_name", "owner", "month_start", "spent", "reserved", "unknown_calls", "alerted_at", "updated_at"),
    )

    @admin.display(description=_("spent"), ordering="spent_usd")
    def spent(self, row: Spend) -> str:
        return in_language(format_usd(row.spent_usd))

    @admin.display(description=_("reserved for calls in progress"), ordering="reserved_usd")
    def reserved(self, row: Spend) -> str:
        return in_language(format_usd(row.reserved_usd))
