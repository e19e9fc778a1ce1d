"""Create the demo's data: two sites with patients, prompts and agents."""

from datetime import date
from typing import Any

from clinic import local_model
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django_tenants.utils import tenant_context
from tenants.models import Clinic, Domain

from zango_ai.models import AgentConfig, Prompt, Provider, Tool

from .answering import VENDORS, Answering
from .models import Patient, Visit

SITES = {"north": "North Clinic", "south": "South Clinic"}

PATIENTS = {
    "north": [
        ("Ada Berger", date(1957, 3, 9), "penicillin", [
            (date(2026, 1, 12), "Annual check-up", "Blood pressure 138/86. Metformin continued."),
            (date(2026, 9, 3), "Dizziness on standing", "Ramipril reduced to 2.5 mg. See again in six weeks."),
        ]),
        ("Jonas Lindqvist", date(1988, 11, 21), "", [
            (date(2026, 6, 30), "Sprained ankle", "No fracture on X-ray. Physiotherapy, three sessions."),
        ]),
    ],
    "south": [
        ("Miriam Okafor", date(1994, 7, 2), "latex", [
            (date(2026, 4, 18), "Migraine", "Sumatriptan 50 mg as needed. Keeps a diary."),
            (date(2026, 10, 5), "Follow-up", "Two attacks a month, down from six."),
        ]),
    ],
}  # fmt: skip

SYSTEM_PROMPT = (
    "You help the staff of {{ clinic }}. Answer only from the history that you are given. If it does not contain "
    "the answer, say so."
)
USER_PROMPT = "{{ history }}\n\nQuestion: {{ question }}"


def create_site(schema: str) -> Clinic:
    """Create the tenant and its domain, unless they exist."""
    clinic = Clinic.objects.filter(schema_name=schema).first()
    if clinic is None:
        clinic = Clinic(schema_name=schema, name=SITES.get(schema, "All clinics"))
        clinic.save(verbosity=0)
    host = "localhost" if schema == "public" else f"{schema}.localhost"
    Domain.objects.get_or_create(domain=host, defaults={"tenant": clinic, "is_primary": True})
    return clinic


def fill_site(clinic: Clinic, answering: Answering) -> None:
    """Create patients, an administrator and the agents, unless they exist. Point the providers at who answers."""
    with tenant_context(clinic):
        for name, born, allergies, visits in PATIENTS[clinic.schema_name]:
            patient, is_new = Patient.objects.get_or_create(
                name=name,
                defaults={"born": born, "allergies": allergies, "flagged_for_review": bool(allergies)},
            )
            if is_new:
                Visit.objects.bulk_create(
                    Visit(patient=patient, on=on, reason=reason, notes=notes) for on, reason, notes in visits
                )
        if not User.objects.filter(username="admin").exists():
            User.objects.create_superuser("admin", password="admin")
        providers = {name: _provider(name, answering) for name in VENDORS}
        _create_agents(providers["main"], providers["second"], answering.agent_fields)


def _provider(name: str, answering: Answering) -> Provider:
    fields = {**VENDORS[name], "credentials": {}, "description": answering.description}
    if name == "main":
        fields |= {"monthly_budget_usd": 20, "rate_limit_rpm": 600}
    provider, _ = Provider.objects.update_or_create(name=name, defaults=fields | answering.providers.get(name, {}))
    if answering.is_on_this_computer:
        prices = {"input_cost_per_mtok": 0, "output_cost_per_mtok": 0}
        provider.models.update_or_create(model_id=local_model.MODEL, defaults=prices)
    else:
        provider.models.filter(model_id=local_model.MODEL).delete()
    return provider


def _create_agents(main: Provider, second: Provider, fields_of_all: dict[str, Any]) -> None:
    system = _prompt("clinic-assistant", Prompt.Type.SYSTEM, SYSTEM_PROMPT)
    question = _prompt("patient-question", Prompt.Type.USER, USER_PROMPT)
    agents = {
        "patient-summary": {"provider": main, "system_prompt": system, "user_prompt": question},
        "front-desk": {"provider": main},
        "report-analyser": {"provider": second},
        "chat-agent": {"provider": main, "short_term_memory": True, "is_public_api": True},
        "care-assistant": {"provider": main},
        "second-opinion": {"provider": second, "system_prompt": system},
    }
    for name, fields in agents.items():
        AgentConfig.objects.get_or_create(name=name, defaults=fields)
    AgentConfig.objects.filter(name__in=agents).update(**fields_of_all)
    for name in ("care-assistant", "chat-agent"):
        AgentConfig.objects.get(name=name).tools.set(Tool.objects.filter(section="patients"))


def _prompt(name: str, kind: str, content: str) -> Prompt:
    prompt, is_new = Prompt.objects.get_or_create(name=name, defaults={"type": kind})
    if is_new:
        prompt.add_version(content)
    return prompt


def sites() -> QuerySet[Clinic]:
    return Clinic.objects.filter(schema_name__in=SITES).order_by("schema_name")
