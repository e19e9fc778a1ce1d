from __future__ import annotations

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
from .access import TenantOnly, ViewOnly
from .panel import PanelAdmin


class ShowsSpend(TenantOnly):
    """Shows the spend of a provider or an agent in its current budget month."""

    spend_owner = ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        latest = Spend.objects.filter(owner=self.spend_owner, owner_id=OuterRef("pk")).order_by("-month_start")
        names = ("month_start", "spent_usd", "reserved_usd", "unknown_calls")
        annotations = {f"latest_{name}": Subquery(latest.values(name)[:1]) for name in names}
        return super().get_queryset(request).annotate(**annotations)  # type: ignore[no-any-return]

    @admin.display(description=_("spent this month"))
    def this_month(self, row: Any) -> SafeString | str:
        from ..ledger import months
        from ..models.specs import budget_of

        if row.pk is None:
            return "-"
        budget = budget_of(vars(row))
        month = months.current_month_start(budget, tenancy.current_schema())
        is_current = getattr(row, "latest_month_start", None) == month
        spent, reserved = (
            (row.latest_spent_usd, row.latest_reserved_usd) if is_current else (Decimal(0), Decimal(0))
        )
        text = format_usd(spent)
        if budget.limit_usd is not None:
            text = gettext("%(spent)s of %(limit)s") % {"spent": text, "limit": format_usd(budget.limit_usd)}
        if reserved:
            text += " " + gettext("(plus %(reserved)s reserved)") % {"reserved": format_usd(reserved)}
        if is_current and row.latest_unknown_calls:
            text += " " + gettext("(calls of unknown cost: %(count)d)") % {"count": row.latest_unknown_calls}
        if budget.limit_usd is not None and spent >= budget.limit_usd:
            return format_html('<strong class="zango-ai-spent">{}: {}</strong>', text, gettext("used up"))
        return text


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
        return format_usd(row.spent_usd)

    @admin.display(description=_("reserved for calls in progress"), ordering="reserved_usd")
    def reserved(self, row: Spend) -> str:
        return format_usd(row.reserved_usd)
