"""Notices about models that their vendor switches off: on the overview, and on pages of agents and providers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import formats
from django.utils.translation import gettext

from ..configuration.retiring_models import RetiringModel, retiring_models
from ..models import AgentConfig, Provider


@dataclass(frozen=True, slots=True)
class RetirementNotice:
    """``tone`` is that of an alert."""

    tone: str
    title: str
    text: str


def notice_of(found: RetiringModel) -> RetirementNotice:
    """When the model ends, and who has to choose another one."""
    names = {
        "model": found.model,
        "day": formats.date_format(found.retires_on),
        "agents": ", ".join(name for _id, name in found.agents) or gettext("no agent; it is a default model"),
    }
    title = gettext("%(model)s ended on %(day)s.") if found.is_retired else gettext("%(model)s ends on %(day)s.")
    text = gettext("Choose another model. Used by: %(agents)s.") % names
    return RetirementNotice("bad" if found.is_retired else "warn", title % names, text)


def notices_about(row: Any) -> list[RetirementNotice]:
    """The notices for the page of an agent or a provider; none for other rows."""
    if not isinstance(row, (AgentConfig, Provider)):
        return []
    return [notice_of(found) for found in retiring_models() if _concerns(found, row)]


def _concerns(found: RetiringModel, row: AgentConfig | Provider) -> bool:
    if isinstance(row, Provider):
        return found.provider_id == row.pk
    return any(pk == row.pk for pk, _name in found.agents)
