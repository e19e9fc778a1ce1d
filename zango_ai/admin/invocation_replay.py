"""The addresses of the pages that replay runs."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from .panel import PanelAdmin


class InvocationReplay(PanelAdmin):
    """Views of ``InvocationAdmin``. They are imported late, because they import what runs need."""

    def panel_urls(self) -> list[URLPattern]:
        return [
            self._replay_path("<int:pk>/replay/", "one", "invocation_replay", permission="run_agent"),
            self._replay_path("<int:pk>/comparison/", "comparison", "invocation_comparison"),
            self._replay_path("<int:pk>/answers/", "answers", "invocation_answers"),
            self._replay_path("replays/", "form", "invocation_replays", permission="run_agent"),
            self._replay_path(
                "replays/<uuid:batch>/", "results", "invocation_replay_batch", permission="run_agent"
            ),
            self._replay_path(
                "replays/<uuid:batch>/cancel/", "cancel", "invocation_replay_cancel", permission="run_agent"
            ),
            *super().panel_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With ``replay_url`` in the context, if the user may replay the run."""
        is_offered = object_id.isascii() and object_id.isdecimal() and may_replay(request)
        link = {"replay_url": self.panel_url("invocation_replay", object_id)} if is_offered else {}
        pages: Any = super()
        response: HttpResponse = pages.change_view(request, object_id, form_url, {**link, **(extra_context or {})})
        return response

    def _replay_path(self, route: str, method: str, name: str, *, permission: str = "") -> URLPattern:
        # In a request's transaction, tasks are sent after it, and a batch would not stop at the first refusal.
        @transaction.non_atomic_requests
        def view(request: HttpRequest, **arguments: Any) -> HttpResponse:
            from .replay import Replays
            from .replay_batch import ReplayBatches

            pages = ReplayBatches if route.startswith("replays/") else Replays
            response: HttpResponse = getattr(pages(self, request), method)(**arguments)
            return response

        return self.panel_path(route, view, name, permission=permission)


def may_replay(request: HttpRequest) -> bool:
    """Whether to offer replays to the user."""
    return request.user.has_perms(["zango_ai.run_agent", "zango_ai.view_payload"])
