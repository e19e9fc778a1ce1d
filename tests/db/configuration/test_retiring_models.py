"""Models that their vendor switches off are reported before they stop."""

import subprocess
import sys
from datetime import date, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.build import make_agent, make_provider
from tests.schemas import add_domains, all_tenants, schema_context
from zango_ai.checks import check_retiring_models
from zango_ai.configuration.retiring_models import retiring_models
from zango_ai.models import AgentConfig, Provider
from zango_ai.providers import retirement


@pytest.fixture
def listed(monkeypatch):
    """Replace the days of the price list: a model that ends in a month, one that has ended, one that ends later."""
    today = timezone.localdate()
    days = {
        ("openai", "gpt-soon"): today + timedelta(days=30),
        ("openai", "openai/gpt-gone"): today,
        ("openai", "gpt-later"): today + timedelta(days=300),
        ("azure", "azure/gpt-soon"): today + timedelta(days=31),
    }
    monkeypatch.setattr(retirement, "_listed_days", lambda: days)
    return today


@pytest.fixture
def agents(north, model, listed):
    """North has an agent on a model that ends soon, with a fallback that has ended."""
    provider = make_provider(model, default_model="gpt-later")
    agent = make_agent(model, "summary", provider=provider, model="gpt-soon")
    agent.fallbacks.create(provider=provider, model="gpt-gone")
    make_agent(model, "triage", provider=provider)
    return provider


def test_models_of_agents_and_fallbacks_are_found_the_earliest_first(agents, listed):
    gone, soon = retiring_models()
    assert (gone.model, gone.is_retired, gone.used_by) == ("gpt-gone", True, ["agent summary"])
    assert (soon.model, soon.is_retired, soon.retires_on) == ("gpt-soon", False, listed + timedelta(days=30))
    assert [each.model for each in retiring_models(within_days=0)] == ["gpt-gone"]
    later = retiring_models(within_days=400)[-1]
    assert (later.model, later.is_default, later.used_by) == ("gpt-later", True, ["agent triage"])


def test_disabled_agents_and_providers_do_not_count(agents):
    AgentConfig.objects.filter(name="summary").update(is_enabled=False)
    assert retiring_models() == []
    AgentConfig.objects.update(is_enabled=True)
    Provider.objects.update(is_enabled=False)
    assert retiring_models() == []


def test_an_azure_deployment_has_the_day_of_its_base_model(north, model, listed):
    make_provider(model, kind="azure")
    credentials = Provider.objects.get().credentials
    credentials["base_model"] = "gpt-soon"
    Provider.objects.update(credentials=credentials)
    assert [each.model for each in retiring_models()] == ["my-deployment"]


def test_a_self_hosted_model_has_no_day(north, model, listed):
    make_provider(model, kind="openai_compatible", default_model="gpt-soon")
    assert retiring_models() == []


def test_the_number_of_queries_does_not_depend_on_the_number_of_agents(agents, model):
    for number in range(5):
        make_agent(model, f"more-{number}", provider=agents, model="gpt-soon").fallbacks.create(provider=agents)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        retiring_models()
    assert len([query for query in captured if query["sql"].startswith("SELECT")]) == 3


def test_a_system_check_names_tenant_model_and_agents(tenants, model, listed):
    with schema_context("south"):
        make_agent(model, "summary", provider=make_provider(model, default_model="gpt-soon"))
    (found,) = check_retiring_models(databases=["default"])
    day = listed + timedelta(days=30)
    assert (found.id, found.is_serious()) == ("zango_ai.W005", False)
    assert found.msg == (
        f"Tenant south: support for the model 'gpt-soon' of provider 'main' ends on {day}. Used by: agent summary."
    )
    assert check_retiring_models() == []


def test_the_check_does_not_stop_a_migration_that_adds_columns(tenants, model, listed):
    with schema_context("south"):
        make_agent(model, provider=make_provider(model, default_model="gpt-soon"))
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE south.zango_ai_provider RENAME COLUMN kind TO type")
    assert check_retiring_models(databases=["default"]) == []


def test_days_are_read_without_importing_litellm():
    code = (
        "import sys; from zango_ai.providers import retirement; days = retirement._listed_days(); "
        "assert len(days) > 50 and 'litellm' not in sys.modules; print(min(days.values()))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert date.fromisoformat(said.stdout.strip()).year > 2020


def test_the_pages_of_agents_and_providers_say_which_model_ends(agents, listed):
    add_domains(all_tenants()["north"], "north.localhost")
    client = Client(headers={"host": "north.localhost"})
    client.force_login(User.objects.create_superuser("root"))

    def shown(model, name):
        row = model.objects.get(name=name)
        html = client.get(f"/admin/zango_ai/{model._meta.model_name}/{row.pk}/change/").content.decode()
        return [text for text in ("gpt-soon ends on", "gpt-gone ended on", "gpt-later ends on") if text in html]

    assert shown(AgentConfig, "summary") == ["gpt-soon ends on", "gpt-gone ended on"]
    assert shown(AgentConfig, "triage") == []
    assert shown(Provider, "main") == ["gpt-soon ends on", "gpt-gone ended on"]
