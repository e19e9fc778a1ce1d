"""The pages of a prompt's versions: read one, compare two, activate one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _

from ..configuration import prompt_usage
from ..models import Prompt, PromptVersion
from ..prompts import diff, rendering
from .panel import PanelAdmin

HISTORY_LENGTH = 50
"""Versions listed beside the editor. Older ones are reachable by comparing, or by their address."""


class PromptVersionPages(PanelAdmin):
    """Views of ``PromptAdmin``, below the prompt's own page."""

    def panel_urls(self) -> list[URLPattern]:
        return [
            self.panel_path("<int:pk>/versions/<int:number>/", self.version_view, "prompt_version"),
            self.panel_path(
                "<int:pk>/versions/<int:number>/activate/",
                self.activate_view,
                "prompt_activate",
                permission="activate_prompt",
            ),
            self.panel_path("<int:pk>/compare/", self.compare_view, "prompt_compare"),
        ]

    def history_context(self, request: HttpRequest, prompt: Prompt) -> dict[str, Any]:
        """What the editor shows beside the text."""
        versions = list(prompt.versions.defer("content")[: HISTORY_LENGTH + 1])
        return {
            "versions": versions[:HISTORY_LENGTH],
            "has_more_versions": len(versions) > HISTORY_LENGTH,
            "newest": versions[0] if versions else None,
            "active": prompt.active_version,
            "agents": prompt_usage.agents_using(prompt),
            "can_activate": self.can_activate(request),
        }

    def version_view(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        """One version, read-only."""
        version = self._version(request, pk, number)
        context = {
            "prompt": version.prompt,
            **self.history_context(request, version.prompt),
            "version": version,
            "parts": rendering.split_at_placeholders(version.content),
        }
        return self.panel_page(request, "admin/zango_ai/prompt/version.html", str(version), context)

    def compare_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Two versions, side by side or inline. ``base`` and ``other`` are their numbers."""
        prompt = self._prompt(request, pk)
        versions = {version.version_number: version for version in prompt.versions.defer("content")}
        newest = list(versions)  # the newest come first
        base, other = (
            self._chosen(request, name, versions, default)
            for name, default in (("base", newest[1:2] or newest[:1]), ("other", newest[:1]))
        )
        context = {
            "prompt": prompt,
            "versions": list(versions.values()),
            "base": base,
            "other": other,
            "view": request.GET.get("view", ""),
            "can_activate": self.can_activate(request),
            **({} if base is None or other is None else _differences(base, other)),
        }
        title = _("Compare versions of %(prompt)s") % {"prompt": prompt.name}
        return self.panel_page(request, "admin/zango_ai/prompt/compare.html", title, context)

    def activate_view(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        """Activate the version (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return self.activate_or_confirm(request, self._version(request, pk, number))

    def activate_or_confirm(self, request: HttpRequest, version: PromptVersion) -> HttpResponse:
        """Activate the version, or first show what that would break for callers."""
        if not self.can_activate(request):
            raise PermissionDenied
        prompt = version.prompt
        agents = prompt_usage.agents_using(prompt)
        active = prompt.find_active_version()
        warning = prompt_usage.activation_warning(version, active, agents)
        if warning and "confirmed" not in request.POST:
            context = {"prompt": prompt, "version": version, "active": active, "warning": warning}
            title = _("Activate %(version)s?") % {"version": version}
            return self.panel_page(request, "admin/zango_ai/prompt/confirm_activation.html", title, context)
        version.activate(activated_by=request.user.get_username())
        pages: Any = self
        text = _("Activated version %(number)d.") % {"number": version.version_number}
        pages.log_change(request, prompt, text)
        messages.success(request, _("Now active: %(version)s.") % {"version": version})
        return HttpResponseRedirect(self.panel_url("prompt_change", prompt.pk))

    def can_activate(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("zango_ai.activate_prompt")

    def _prompt(self, request: HttpRequest, pk: int) -> Prompt:
        pages: Any = self
        prompt: Prompt | None = pages.get_object(request, str(pk))
        if prompt is None:
            raise Http404
        return prompt

    def _version(self, request: HttpRequest, pk: int, number: int) -> PromptVersion:
        version = self._prompt(request, pk).versions.select_related("prompt").filter(version_number=number).first()
        if version is None:
            raise Http404
        return version

    @staticmethod
    def _chosen(
        request: HttpRequest, name: str, versions: dict[int, PromptVersion], default: list[int]
    ) -> PromptVersion | None:
        """The version whose number is in the query string. Raises Http404 if the prompt does not have it."""
        try:
            number = int(request.GET.get(name, ""))
        except ValueError:
            return versions[default[0]] if default else None
        if number not in versions:
            raise Http404
        return versions[number]


def _differences(base: PromptVersion, other: PromptVersion) -> dict[str, Any]:
    numbers = (base.version_number, other.version_number)
    rows = PromptVersion.objects.filter(prompt=base.prompt_id, version_number__in=numbers)
    texts = dict(rows.values_list("version_number", "content"))
    lines = diff.compare(texts[base.version_number], texts[other.version_number])
    return {
        "rows": lines,
        "added": sum(row.kind in {"added", "changed"} for row in lines),
        "removed": sum(row.kind in {"removed", "changed"} for row in lines),
        "placeholders": {
            "added": [name for name in other.variables if name not in base.variables],
            "removed": [name for name in base.variables if name not in other.variables],
        },
    }
