"""The guided first set-up: provider, prompt, agent, first run.

Each step saves a real row. A step is done when its row exists, so it can be left and resumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import AgentConfig, Invocation, Prompt, Provider
from . import provider_connection

_TEXTS: dict[str, tuple[Any, Any]] = {
    "provider": (
        _("Connect a provider"),
        _(
            "A provider is your account with the company that runs the AI model, or a server of your own. The "
            "company bills your clinic for each use. Your key stays encrypted, and nobody can read it again."
        ),
    ),
    "prompt": (
        _("Write a prompt"),
        _(
            "A prompt tells the AI what to do, in your own words. Placeholders stand for what differs each time, "
            "such as a name or a date. You can change the text later: earlier versions are kept."
        ),
    ),
    "agent": (
        _("Create an agent"),
        _("An agent puts the two together under one name. Your software calls it by that name."),
    ),
    "run": (
        _("Try it"),
        _("Fill in the placeholders and run the agent. The run is real: it is billed and logged under your name."),
    ),
}
STEPS = tuple(_TEXTS)


@dataclass(frozen=True, slots=True)
class SetupStep:
    key: str
    number: int
    title: str
    text: str
    url: str
    is_done: bool
    is_open: bool
    """Whether the steps before it are done."""


class Setup:
    """One request to the set-up. ``pages`` is the ``AgentConfigAdmin``."""

    def __init__(self, pages: Any, request: HttpRequest) -> None:
        self._pages, self._request = pages, request
        self._is_tested = False

    @cached_property
    def rows(self) -> dict[str, Any]:
        """The first provider, prompt and agent. None: not made yet."""
        agents = AgentConfig.objects.select_related("provider").order_by("pk")
        agent = agents.first()
        prompts = Prompt.objects.select_related("active_version").order_by("pk")
        return {
            "provider": agent.provider if agent else Provider.objects.order_by("pk").first(),
            "prompt": prompts.first(),
            "agent": agent,
            "run": agent and Invocation.objects.filter(agent=agent).only("pk").first(),
        }

    @cached_property
    def steps(self) -> list[SetupStep]:
        steps: list[SetupStep] = []
        for number, (key, (title, text)) in enumerate(_TEXTS.items(), 1):
            url = self._pages.panel_url("setup_step", key)
            is_open = all(step.is_done for step in steps)
            steps.append(SetupStep(key, number, str(title), str(text), url, self._is_done(key), is_open))
        return steps

    def _is_done(self, key: str) -> bool:
        row = self.rows[key]
        return row is not None and not (key == "provider" and row.validation_error)

    @property
    def done(self) -> int:
        return sum(step.is_done for step in self.steps)

    @property
    def next_url(self) -> str:
        """The address of the first step that is not done, or of the last one."""
        return next((step.url for step in self.steps if not step.is_done), self.steps[-1].url)

    def show(self, key: str) -> HttpResponse:
        """The page of a step. A POST saves its row and leads to the next step."""
        step = next((each for each in self.steps if each.key == key), None)
        if step is None:
            raise Http404
        if not step.is_open:
            return HttpResponseRedirect(self.next_url)
        return self._run(step) if key == "run" else self._edit(step)

    def _run(self, step: SetupStep) -> HttpResponse:
        """The playground of the agent, with the steps above it."""
        if not self._request.user.has_perm("zango_ai.run_agent"):
            return self._page(step, missing=gettext("run an agent"))
        from .playground import Playground

        response: Any = Playground(self._pages, self._request, self.rows["agent"].pk).page()
        if isinstance(response, TemplateResponse):
            response.template_name = "admin/zango_ai/setup/run.html"
            values = {"setup": self, "step": step, "title": step.title, "eyebrow": _("First set-up"), "opts": None}
            response.context_data = {**(response.context_data or {}), **values, "panel_lead": step.text}
        return response  # type: ignore[no-any-return]

    def _edit(self, step: SetupStep) -> HttpResponse:
        from .setup_forms import FORMS, MODELS

        row, model = self.rows[step.key], MODELS[step.key]
        pages = self._pages.admin_site._registry.get(model)
        verb = "change" if row else "add"
        if pages is None or not getattr(pages, f"has_{verb}_permission")(self._request):
            return self._page(step, missing=f"{verb} {model._meta.verbose_name}")
        form = FORMS[step.key](self._request.POST or None, instance=row or self._new(step.key))
        if self._request.method != "POST" or not form.is_valid():
            return self._page(step, form)
        with transaction.atomic():
            saved = self._save(step.key, form)
            log = pages.log_change if row else pages.log_addition
            log(self._request, saved, pages.construct_change_message(self._request, form, [], add=not row))
        return self._go_on(step, saved)

    def _new(self, key: str) -> Any:
        """An unsaved row with what the earlier steps have chosen."""
        if key != "agent":
            return None
        prompt = self.rows["prompt"]
        return AgentConfig(provider=self.rows["provider"], **{f"{prompt.type}_prompt": prompt})

    def _save(self, key: str, form: Any) -> Any:
        if key == "provider":
            self._is_tested = provider_connection.keep_result(self._request, form)
        row = form.save()
        if key == "provider" and self._request.user.has_perm("zango_ai.add_providermodel"):
            row.add_models(form.models_to_add())
        if key == "prompt" and form.has_new_content:
            name = self._request.user.get_username()
            version = row.add_version(form.cleaned_data["content"], created_by=name)
            if self._request.user.has_perm("zango_ai.activate_prompt"):
                version.activate(activated_by=name)
        return row

    def _go_on(self, step: SetupStep, saved: Any) -> HttpResponse:
        """To the next step, unless the provider's connection fails."""
        if step.key == "provider" and not self._is_tested and not saved.validate_connection():
            return HttpResponseRedirect(step.url)
        messages.success(self._request, gettext("%(name)s was saved.") % {"name": saved})
        return HttpResponseRedirect(self.steps[step.number].url)

    def _page(self, step: SetupStep, form: Any = None, *, missing: str = "") -> HttpResponse:
        row = self.rows.get(step.key)
        key = f"?provider={row.pk}" if step.key == "provider" and row else ""
        context = {
            **{"setup": self, "step": step, "form": form, "row": row, "missing": missing, "opts": None},
            **{"eyebrow": _("First set-up"), "panel_lead": step.text},
            "test_url": self._pages.panel_url("provider_test") + key if step.key == "provider" else "",
            "fetch_url": self._pages.panel_url("provider_models") + key if step.key == "provider" else "",
        }
        page: HttpResponse = self._pages.panel_page(
            self._request, "admin/zango_ai/setup/page.html", step.title, context
        )
        return page
