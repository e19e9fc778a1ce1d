"""The button that puts a run or a conversation on legal hold."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.utils.translation import gettext as _


def switch_hold(page: Any, request: HttpRequest, row: Any, page_name: str) -> HttpResponse:
    """Set ``is_on_hold`` of the row to what the form says (POST only), log it, and return to the row's page."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    is_on_hold = request.POST.get("is_on_hold") == "1"
    if row.is_on_hold != is_on_hold:
        type(row).objects.filter(pk=row.pk).update(is_on_hold=is_on_hold)
        page.log_change(request, row, _("Put on legal hold.") if is_on_hold else _("Legal hold ended."))
    return HttpResponseRedirect(page.panel_url(page_name, row.pk))
