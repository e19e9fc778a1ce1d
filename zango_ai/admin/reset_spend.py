"""The page that resets what a provider or an agent has spent in its budget month."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import tenancy
from . import spending
from .formats import usd
from .panel import PanelAdmin


class ResetForm(forms.Form):
    """Why the spend is reset."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=forms.TextInput(attrs={"class": "vLargeTextField"}),
        help_text=_("Kept in the history, for example “Test runs of the trial month”."),
    )


class ResetsSpend(PanelAdmin):
    """The part of the admins of providers and agents that resets their spend."""

    spend_owner = ""

    def panel_urls(self) -> list[URLPattern]:
        name = f"{self.opts.model_name}_reset_spend"
        return [*super().panel_urls(), self.panel_path("<int:pk>/reset-spend/", self.reset_spend, name)]

    def reset_spend(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for a reason, and write off the spend of the current budget month."""
        from ..ledger import spend_reset
        from ..models.specs import budget_of

        owner: Any = get_object_or_404(self.model, pk=pk)
        if not self.has_change_permission(request, owner):
            raise PermissionDenied
        form = ResetForm(request.POST or None)
        back = self.panel_url(f"{self.opts.model_name}_change", pk)
        if request.method == "POST" and form.is_valid():
            with transaction.atomic():
                budget = budget_of(vars(owner))
                amount = spend_reset.reset(self.spend_owner, pk, budget, tenancy.current_schema())
                told = {"amount": usd(amount), "reason": form.cleaned_data["reason"]}
                text = gettext("Spend of %(amount)s reset. Reason: %(reason)s") % told
                self.log_change(request, owner, text)  # type: ignore[attr-defined]
            messages.success(request, gettext("The spend of %(amount)s was reset.") % told)
            return HttpResponseRedirect(back)
        row = spending.with_spend(self.model._default_manager.filter(pk=pk), self.spend_owner).get()
        spend, home = spending.current_spend(row), self.panel_url(f"{self.opts.model_name}_changelist")
        context = {"owner": owner, "form": form, "spend": spend, "back": back, "home": home}
        return self.panel_page(request, "admin/zango_ai/reset_spend.html", _("Reset spend"), context)
