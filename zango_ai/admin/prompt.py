from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..models import Prompt, PromptVersion
from ..prompts import rendering
from .access import ViewOnly, preformatted
from .panel import PanelAdmin


class PromptForm(forms.ModelForm):
    """A prompt with the text of its active version. A changed text is saved as a new version."""

    content = forms.CharField(
        label=_("Content"),
        strip=False,
        widget=forms.Textarea(attrs={"rows": 14, "class": "vLargeTextField", "spellcheck": "true"}),
        help_text=_("Write placeholders as {{ name }}. A change is saved as a new version."),
    )
    change_description = forms.CharField(
        label=_("Change description"),
        required=False,
        max_length=500,
        help_text=_("For your team, for example “Shorter greeting”."),
    )
    make_active = forms.BooleanField(
        label=_("Make the new version active"),
        required=False,
        initial=True,
        help_text=_("Turn off to save a draft: agents keep using the active version."),
    )

    base_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Prompt
        fields = ["name", "type", "description"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        version = self.instance.find_active_version() if self.instance.pk else None
        self.fields["content"].initial = version.content if version else ""
        self.fields["base_version"].initial = version.pk if version else None

    def clean_content(self) -> str:
        return _normalize_line_breaks(self.cleaned_data["content"])

    @property
    def has_new_content(self) -> bool:
        """Whether this form changed the text. Changes by other users do not count."""
        base = self.instance.versions.filter(pk=self.cleaned_data.get("base_version")).first()
        return base is None or bool(self.cleaned_data["content"] != _normalize_line_breaks(base.content))


def _normalize_line_breaks(text: str) -> str:
    """Browsers send line breaks as CR LF. They are stored and compared as LF."""
    return text.replace("\r\n", "\n")


class PromptVersionInline(ViewOnly, admin.TabularInline):
    model = PromptVersion
    fk_name = "prompt"
    extra = 0
    verbose_name_plural = _("Versions")
    fields = readonly_fields = ("number", "status", "change_description", "created_at", "placeholders")
    ordering = ["-version_number"]

    @admin.display(description=_("placeholders"))
    def placeholders(self, version: PromptVersion) -> str:
        return ", ".join(version.variables)

    @admin.display(description=_("version"))
    def number(self, version: PromptVersion) -> SafeString:
        url = reverse("admin:zango_ai_promptversion_change", args=[version.pk])
        return format_html('<a href="{}">v{}</a>', url, version.version_number)


@admin.register(Prompt)
class PromptAdmin(PanelAdmin, admin.ModelAdmin):
    form = PromptForm
    panel_lead = _("Texts that agents send, with placeholders. Every change is kept as a version.")
    list_display = ["name", "type", "version", "description"]
    list_filter = ["type"]
    list_select_related = ["active_version"]
    search_fields = ["name", "description"]
    inlines = [PromptVersionInline]
    fieldsets = [
        (None, {"fields": ["name", "type", "description"]}),
        (_("Text"), {"fields": ["content", "change_description", "make_active", "base_version"]}),
    ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["fields"] = PromptForm.Meta.fields
        return super().get_form(request, obj, change, **kwargs)

    @admin.display(description=_("active version"))
    def version(self, prompt: Prompt) -> str:
        version = prompt.find_active_version()
        return f"v{version.version_number}" if version else "-"

    def save_model(self, request: HttpRequest, obj: Prompt, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not form.has_new_content:
            return
        version = obj.add_version(
            form.cleaned_data["content"], change_description=form.cleaned_data["change_description"]
        )
        if form.cleaned_data["make_active"]:
            version.activate()
        for text in rendering.find_mistakes(version.content):
            messages.warning(
                request,
                _(
                    "“%(text)s” looks like a placeholder but is sent to the model unchanged. Write placeholders as "
                    "{{ name }}, with letters, digits and underscores. Template tags are not supported."
                )
                % {"text": text},
            )


@admin.register(PromptVersion)
class PromptVersionAdmin(PanelAdmin, ViewOnly, admin.ModelAdmin):
    """Shows a version and activates it. New versions are written on the prompt's page."""

    list_display = ["prompt", "version_number", "status", "change_description", "created_at"]
    list_display_links = ["version_number"]
    list_filter = ["status"]
    list_select_related = ["prompt"]
    search_fields = ["prompt__name", "change_description"]
    fields = readonly_fields = (
        "prompt",
        "version_number",
        "status",
        "placeholders",
        "text",
        "change_description",
        "created_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PromptVersion]:
        return super().get_queryset(request).select_related("prompt")

    @admin.display(description=_("placeholders"))
    def placeholders(self, version: PromptVersion) -> str:
        return ", ".join(version.variables)

    @admin.display(description=_("content"))
    def text(self, version: PromptVersion) -> SafeString | str:
        return preformatted(version.content)

    def get_urls(self) -> list[URLPattern]:
        activate = self.admin_site.admin_view(self.activate)
        return [
            path("<int:pk>/activate/", activate, name="zango_ai_promptversion_activate"),
            *super().get_urls(),
        ]

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        kwargs["extra_context"] = {
            **(kwargs.get("extra_context") or {}),
            "can_activate": self._can_activate(request),
        }
        return super().change_view(request, *args, **kwargs)

    def activate(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Make the version active (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self._can_activate(request):
            raise PermissionDenied
        version = get_object_or_404(PromptVersion.objects.select_related("prompt"), pk=pk)
        version.activate()
        self.log_change(request, version.prompt, f"Activated version {version.version_number}.")
        messages.success(request, _("Now active: %(version)s.") % {"version": version})
        return HttpResponseRedirect(reverse("admin:zango_ai_prompt_change", args=[version.prompt_id]))

    def _can_activate(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("zango_ai.change_prompt")
