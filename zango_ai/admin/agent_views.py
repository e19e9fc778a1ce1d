"""Views beside an agent's list and form: its switch, its copy, and what the form asks for while staff type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.forms.models import construct_instance
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import get_object_or_404
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from ..configuration.duplicates import duplicate
from ..encryption.cipher import Undecryptable
from ..models import AgentConfig, Prompt, Provider
from . import panel
from .agent_form import AgentForm
from .agent_summary import AgentSummary, prompt_preview
from .formats import short_count, usd
from .reset_spend import ResetsSpend

if TYPE_CHECKING:
    from ..providers.model_catalog import CatalogModel


class _UncheckedForm(AgentForm):
    """Fills an instance with the form's values, without the model's checks and warnings."""

    def _post_clean(self) -> None:
        construct_instance(self, self.instance, self._meta.fields, self._meta.exclude)


class AgentViews(ResetsSpend):
    """The views of ``AgentConfigAdmin`` that are not Django's."""

    def panel_urls(self) -> list[URLPattern]:
        return [
            *super().panel_urls(),
            self.panel_path("<int:pk>/switch/", self.switch, "agentconfig_switch"),
            self.panel_path("<int:pk>/duplicate/", self.duplicate, "agentconfig_duplicate"),
            self.panel_path("models/", self.models, "agentconfig_models"),
            self.panel_path("summary/", self.summary, "agentconfig_summary"),
            self.panel_path("setup/", self.setup, "setup"),
            self.panel_path("setup/<slug:step>/", self.setup, "setup_step"),
            self._playground("", "page"),
            *(self._playground(f"{name}/", name) for name in ("fields", "decide", "cancel")),
        ]

    def _playground(self, route: str, name: str) -> URLPattern:
        """A view of the playground. It is imported late, because it imports what runs need."""

        def view(request: HttpRequest, pk: int) -> HttpResponseBase:
            from .playground import Playground

            if route and request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            show: Callable[[], HttpResponseBase] = getattr(Playground(self, request, pk), name)
            return show()

        suffix = f"_{name}" if route else ""
        return self.panel_path(
            f"<int:pk>/playground/{route}", view, f"agentconfig_playground{suffix}", permission="run_agent"
        )

    @method_decorator(sensitive_post_parameters())
    def setup(self, request: HttpRequest, step: str = "") -> HttpResponseBase:
        """The guided first set-up: one step, or a redirect to the first that is not done."""
        from .setup import Setup

        guide = Setup(self, request)
        return guide.show(step) if step else HttpResponseRedirect(guide.next_url)

    def switch(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Switch the agent on or off (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        agent = get_object_or_404(AgentConfig, pk=pk)
        if not self.has_change_permission(request, agent):
            raise PermissionDenied
        return self.save_switch(request, agent, on=_("Agent %(name)s is on."), off=_("Agent %(name)s is off."))

    def duplicate(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Copy the agent, and open the copy's form (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_add_permission(request):
            raise PermissionDenied
        agent = get_object_or_404(AgentConfig, pk=pk)
        copy = duplicate(agent)
        self.log_addition(request, copy, gettext("Copied from %(name)s.") % {"name": agent.name})  # type: ignore[attr-defined]
        text = _("This is a copy of %(name)s. It is off: change its name, then switch it on.")
        messages.success(request, text % {"name": agent.name})
        return HttpResponseRedirect(self.panel_url("agentconfig_change", copy.pk))

    def models(self, request: HttpRequest) -> HttpResponse:
        """The models of the provider in ``?provider=``, with their prices and abilities, as JSON."""
        from ..providers import model_catalog

        key = request.GET.get("provider", "")
        provider = get_object_or_404(Provider, pk=int(key) if key.isdecimal() and len(key) < 19 else 0)
        try:
            models = model_catalog.models_of(provider.spec())
        except Undecryptable:
            error = gettext("The provider's credentials cannot be decrypted. Enter them again on its page.")
            return JsonResponse({"error": error, "models": []})
        return JsonResponse(
            {
                "provider": provider.name,
                "default_model": provider.default_model,
                "is_closed": provider.models.exists(),
                "models": [model_document(model) for model in models],
            }
        )

    def summary(self, request: HttpRequest) -> HttpResponse:
        """The parts of the page that follow the form's values, as HTML in JSON (POST only)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        key = request.GET.get("agent", "")
        agent = AgentConfig.objects.filter(pk=int(key)).first() if key.isdecimal() and len(key) < 19 else None
        form_class = type("SummaryForm", (_UncheckedForm,), {"Meta": AgentForm.Meta})
        form = form_class(request.POST, instance=agent)
        form.full_clean()
        unsaved = form.instance
        may_choose = self.has_change_permission(request) or self.has_add_permission(request)
        may_read = may_choose or panel.has_page(request, self.admin_site, Prompt)
        previews = {
            f"{name}_text": prompt_preview(getattr(unsaved, name)) if may_read else ""
            for name in ("system_prompt", "user_prompt")
        }
        return JsonResponse(
            {
                "summary": AgentSummary.of(unsaved, form.cleaned_data.get("tools") or ()).render(),
                **previews,
                "schema": _schema_result(form),
            }
        )


def _schema_result(form: Any) -> dict[str, str]:
    """What is wrong with the JSON schema as it is typed now, what to know about it, or that it can be used."""
    errors = form.errors.get("output_json_schema")
    if errors:
        return {"tone": "bad", "text": " ".join(errors)}
    schema = form.cleaned_data.get("output_json_schema")
    if schema is None:
        return {"tone": "", "text": ""}
    from ..output import json_schema

    try:
        problem = json_schema.problem_of(schema)
    except ValidationError as exc:
        problem = " ".join(exc.messages)
    if problem:
        return {"tone": "bad", "text": str(problem)}
    warning = form.instance.unused_schema_warning() or form.instance.strict_schema_warning()
    if warning:
        return {"tone": "warn", "text": warning}
    return {"tone": "ok", "text": gettext("This schema is valid. The vendor can enforce it.")}


def model_document(model: CatalogModel) -> dict[str, Any]:
    """A model as the form shows it."""
    price = ""
    if model.input_usd_per_mtok is not None and model.output_usd_per_mtok is not None:
        price = gettext("%(input)s in / %(output)s out per million tokens") % {
            "input": usd(model.input_usd_per_mtok),
            "output": usd(model.output_usd_per_mtok),
        }
    abilities = {
        gettext("tools"): model.accepts_tools,
        gettext("JSON schema"): model.accepts_schema,
        gettext("images"): model.accepts_images,
        gettext("documents"): model.accepts_documents,
    }
    return {
        "id": model.id,
        "price": price or gettext("price unknown"),
        "abilities": [name for name, has_it in abilities.items() if has_it],
        "context": gettext("%(count)s tokens of context") % {"count": short_count(model.context_tokens)}
        if model.context_tokens
        else "",
        "retires": gettext("retires on %(day)s") % {"day": model.retires_on} if model.retires_on else "",
    }
