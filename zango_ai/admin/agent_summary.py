"""The panel beside an agent's form: a summary of the form's values, and the code that calls the agent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..models import AgentConfig, Prompt, PromptVersion, Tool
from ..prompts import rendering
from . import agent_code
from .formats import usd


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the form, and what it says."""

    title: Any
    lines: tuple[str, ...]
    anchor: str
    """The class of the field that the step links to."""
    is_set: bool = True
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSummary:
    """An agent as its form describes it, saved or not."""

    agent: AgentConfig
    system_version: PromptVersion | None
    user_version: PromptVersion | None
    tools: tuple[Tool, ...]

    @classmethod
    def of(cls, agent: AgentConfig, tools: Iterable[Tool]) -> AgentSummary:
        return cls(
            agent=agent,
            system_version=_active(agent.system_prompt),
            user_version=_active(agent.user_prompt),
            tools=tuple(tools),
        )

    def render(self) -> SafeString:
        context = {"steps": self._steps(), "samples": agent_code.samples(self._call()), "agent": self.agent}
        return mark_safe(render_to_string("admin/zango_ai/agentconfig/summary.html", context))  # noqa: S308

    def _call(self) -> agent_code.AgentCall:
        agent = self.agent
        return agent_code.AgentCall(
            name=agent.name or "my-agent",
            has_user_prompt=agent.user_prompt_id is not None,
            variables=self.user_version.variables if self.user_version else (),
            system_variables=self.system_version.variables if self.system_version else (),
            has_memory=agent.short_term_memory,
            is_json=agent.output_schema == AgentConfig.OutputSchema.JSON,
            needs_approvals=any(tool.requires_approval for tool in self.tools),
        )

    def _steps(self) -> list[Step]:
        return [
            self._model(),
            self._prompts(),
            self._output(),
            self._tools(),
            self._memory(),
            self._limits(),
        ]

    def _model(self) -> Step:
        agent = self.agent
        if not agent.provider_id:
            return Step(_("Model"), (gettext("Choose a provider."),), "field-provider", is_set=False)
        provider = agent.provider
        model = agent.model or provider.default_model
        warning = "" if provider.is_enabled else gettext("The provider is switched off.")
        lines = (model or gettext("No model chosen."), provider.name)
        return Step(_("Model"), lines, "field-provider", is_set=bool(model), warning=warning)

    def _prompts(self) -> Step:
        pairs = (
            (gettext("System: %(prompt)s"), self.agent.system_prompt, self.system_version),
            (gettext("User: %(prompt)s"), self.agent.user_prompt, self.user_version),
        )
        lines = tuple(
            text % {"prompt": f"{prompt.name} v{version.version_number}" if version else prompt.name}
            for text, prompt, version in pairs
            if prompt is not None
        )
        without_text = any(prompt is not None and version is None for _text, prompt, version in pairs)
        warning = gettext("A prompt has no active version.") if without_text else ""
        empty = (gettext("None: code passes the whole text."),)
        return Step(_("Prompts"), lines or empty, "field-system_prompt", is_set=bool(lines), warning=warning)

    def _output(self) -> Step:
        agent = self.agent
        lines = [agent.get_output_schema_display()]
        if agent.output_schema == AgentConfig.OutputSchema.JSON:
            schema = agent.output_json_schema
            names = schema.get("properties") if isinstance(schema, dict) else None
            if isinstance(names, dict) and names:
                lines.append(", ".join(list(names)[:6]) + ("…" if len(names) > 6 else ""))
            else:
                lines.append(gettext("Any valid JSON"))
        return Step(_("Output"), tuple(lines), "field-output_schema")

    def _tools(self) -> Step:
        count = len(self.tools)
        if not count:
            return Step(_("Tools"), (gettext("None"),), "field-tools", is_set=False)
        lines = [ngettext("%(count)d tool", "%(count)d tools", count) % {"count": count}]
        asking = sum(tool.requires_approval for tool in self.tools)
        if asking:
            text = ngettext("%(count)d needs approval", "%(count)d need approval", asking)
            lines.append(text % {"count": asking})
        return Step(_("Tools"), tuple(lines), "field-tools")

    def _memory(self) -> Step:
        if not self.agent.short_term_memory:
            return Step(_("Memory"), (gettext("Off"),), "field-short_term_memory", is_set=False)
        count = self.agent.short_term_memory_max_messages
        text = ngettext("The last exchange", "The last %(count)d exchanges", count) % {"count": count}
        return Step(_("Memory"), (text,), "field-short_term_memory")

    def _limits(self) -> Step:
        limit = self.agent.monthly_budget_usd
        if limit is None:
            return Step(_("Limits"), (gettext("No budget"),), "field-monthly_budget_usd", is_set=False)
        return Step(
            _("Limits"), (gettext("%(limit)s a month") % {"limit": usd(limit)},), "field-monthly_budget_usd"
        )


def prompt_preview(prompt: Prompt | None) -> SafeString:
    """The active text of a prompt with its placeholders highlighted."""
    version = _active(prompt)
    context = {
        "prompt": prompt,
        "version": version,
        "parts": rendering.split_at_placeholders(version.content) if version else [],
    }
    return mark_safe(render_to_string("admin/zango_ai/agentconfig/prompt.html", context))  # noqa: S308


def _active(prompt: Prompt | None) -> PromptVersion | None:
    return None if prompt is None else prompt.find_active_version()
