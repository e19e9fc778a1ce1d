from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import URLPattern

from ..models import Invocation, InvocationFile
from .invocation_detail import InvocationDetail
from .invocation_export import InvocationExport
from .invocation_replay import InvocationReplay


@admin.register(Invocation)
class InvocationAdmin(InvocationReplay, InvocationExport, InvocationDetail):
    def panel_urls(self) -> list[URLPattern]:
        file = self.panel_path("<int:invocation_id>/files/<int:pk>/", self.download, "invocation_file")
        return [file, *super().panel_urls()]

    def download(self, request: HttpRequest, invocation_id: int, pk: int) -> FileResponse:
        """Send the content of a file as a download. The browser must never display it."""
        if not request.user.has_perm("zango_ai.view_invocationfile"):
            raise PermissionDenied
        row = get_object_or_404(InvocationFile, pk=pk, invocation=invocation_id)
        try:
            content = row.file.open("rb")
        except Exception as exc:  # never stored, deleted, or the storage is unavailable
            raise Http404("The content of this file is not available in the storage.") from exc
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "private, no-store",
        }
        kind = "application/octet-stream"
        return FileResponse(content, as_attachment=True, filename=row.filename, content_type=kind, headers=headers)
