from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import AgentConfig, Prompt, PromptVersion
from ..prompts import rendering
from . import components
from .counting import count_of
from .prompt_form import PromptForm
from .prompt_versions import PromptVersionPages

ACTIVATE_BUTTON = "_activate"


@admin.register(Prompt)
class PromptAdmin(PromptVersionPages, admin.ModelAdmin):
    form = PromptForm
    panel_lead = _("What agents are told. Each change is a version: compare, activate and roll back at any time.")
    change_form_template = "admin/zango_ai/prompt/change_form.html"
    list_display = ["title", "badge", "version", "versions_count", "used_by", "updated_at"]
    list_display_links = None
    list_filter = ["type"]
    list_select_related = ["active_version"]
    search_fields = ["name", "description"]
    fieldsets = [
        (None, {"fields": ["name", "type", "description"]}),
        (_("Text"), {"fields": ["content", "change_description", "base_version"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Prompt]:
        agents = AgentConfig.objects.filter(Q(system_prompt=OuterRef("pk")) | Q(user_prompt=OuterRef("pk")))
        versions = PromptVersion.objects.filter(prompt=OuterRef("pk"))
        prompts: QuerySet[Prompt] = super().get_queryset(request)
        return prompts.annotate(versions_total=count_of(versions), agents_total=count_of(agents))

    @admin.display(description=_("prompt"), ordering="name")
    def title(self, prompt: Prompt) -> SafeString:
        url = self.panel_url("prompt_change", prompt.pk)
        return format_html(
            '<div><a href="{}"><strong>{}</strong></a><br><span class="za-quiet">{}</span></div>',
            url,
            prompt.name,
            prompt.description,
        )

    @admin.display(description=_("type"), ordering="type")
    def badge(self, prompt: Prompt) -> SafeString:
        return components.tag(prompt.get_type_display())

    @admin.display(description=_("active version"))
    def version(self, prompt: Prompt) -> SafeString:
        version = prompt.find_active_version()
        if version is None:
            return components.badge("warning", gettext("none"))
        return components.badge("active", f"v{version.version_number}")

    @admin.display(description=_("versions"), ordering="versions_total")
    def versions_count(self, prompt: Any) -> int:
        return int(prompt.versions_total)

    @admin.display(description=_("used by agents"))
    def used_by(self, prompt: Any) -> int:
        return int(prompt.agents_total)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["fields"] = PromptForm.Meta.fields
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.start_from = request.GET.get("start_from", "")
        return form

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        prompt = self.get_object(request, object_id)
        context = {} if prompt is None else self.history_context(request, prompt)
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Prompt, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not form.has_new_content:
            return
        version = obj.add_version(
            form.cleaned_data["content"],
            change_description=form.cleaned_data["change_description"],
            created_by=request.user.get_username(),
        )
        for text in rendering.find_mistakes(version.content):
            messages.warning(
                request,
                _(
                    "“%(text)s” looks like a placeholder but is sent to the model unchanged. Write placeholders as "
                    "{{ name }}, with letters, digits and underscores. Template tags are not supported."
                )
                % {"text": text},
            )

    def response_change(self, request: HttpRequest, obj: Prompt) -> HttpResponse:
        """After “Save and activate”, ask for what activating needs; otherwise stay on the prompt's page."""
        version = obj.versions.first()
        if ACTIVATE_BUTTON in request.POST and version is not None:
            return self.activate_or_confirm(request, version)
        return super().response_change(request, obj)
