"""The export of the runs that the list's filters select."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.contrib.contenttypes.models import ContentType
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import tenancy
from ..ledger import run_export
from ..ledger.run_filters import Runs
from . import invalid_filters
from .invocation_list import InvocationList

_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}


class InvocationExport(InvocationList):
    """The part of ``InvocationAdmin`` that sends runs as a file."""

    def panel_urls(self) -> list[URLPattern]:
        export = self.panel_path("export/<slug:kind>/", self.export_view, "invocation_export")
        return [export, *super().panel_urls()]

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """The runs that the filters in the query string select, with their texts for those who may read them."""
        if kind not in _TYPES:
            return HttpResponseBadRequest(_("Use csv or jsonl."))
        try:
            runs = self._selected(request)
        except IncorrectLookupParameters as exc:
            effect = _("Nothing was exported.")
            return HttpResponseBadRequest(
                f"{invalid_filters.problem_of(exc)} {effect}", content_type="text/plain; charset=utf-8"
            )
        has_texts = request.user.has_perm("zango_ai.view_payload")
        self._log_export(request, kind)
        pieces = tenancy.keep_active(_pieces(runs, kind, has_texts))
        answer = StreamingHttpResponse(
            _in_threads(pieces) if isinstance(request, ASGIRequest) else pieces, content_type=_TYPES[kind]
        )
        name = f"invocations-{tenancy.current_schema()}-{timezone.localdate():%Y-%m-%d}.{kind}"
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        answer["Cache-Control"] = "private, no-store"
        return answer

    def _selected(self, request: HttpRequest) -> Runs:
        """Raises IncorrectLookupParameters rather than ignore a part of the address."""
        if ERROR_FLAG in request.GET or invalid_filters.has_nul(request):
            raise IncorrectLookupParameters
        runs: Runs = self.get_changelist_instance(request).queryset
        return runs

    def _log_export(self, request: HttpRequest, kind: str) -> None:
        """Names of filters only: a value may be that of a person whose texts are erased later."""
        filters = ", ".join(sorted(request.GET)) or _("no filter")
        user: Any = request.user
        LogEntry.objects.create(
            user=user,
            content_type=ContentType.objects.get_for_model(self.model),
            object_repr=_("Export"),
            action_flag=CHANGE,
            change_message=_("Exported as %(kind)s: %(filters)s") % {"kind": kind, "filters": filters[:500]},
        )


def _pieces(runs: Runs, kind: str, has_texts: bool) -> Generator[str, None, None]:
    if kind == "csv":
        yield run_export.csv_header(run_export.columns(has_texts))
    for rows in run_export.read(runs, has_texts=has_texts):
        yield run_export.FORMATS[kind](rows)


async def _in_threads(pieces: Iterator[str]) -> AsyncIterator[Any]:
    """Under ASGI, Django would read all pieces of a synchronous iterator before it sends the first."""

    def read() -> str | None:
        return next(pieces, None)

    while (piece := await sync_to_async(read)()) is not None:
        yield piece
