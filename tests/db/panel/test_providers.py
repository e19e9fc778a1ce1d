"""The providers' list, form and pages over HTTP."""

from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from tests import admin_pages, panel_data
from tests.admin_pages import count_queries, fields
from tests.build import API_KEY, QUARTER, make_agent, make_priced_agent, make_provider
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from zango_ai import get_agent
from zango_ai.exceptions import BudgetExceeded
from zango_ai.ledger.reconciliation import find_drift
from zango_ai.models import AgentConfig, Fallback, Provider, ProviderModel, Spend
from zango_ai.testing import Reply

ALL = [f"{verb}_{name}" for verb in ("view", "add", "change", "delete") for name in ("provider", "providermodel")]


@pytest.fixture
def staff(client_of):
    return client_of(*ALL, "view_invocation", "view_agentconfig")


def url(name, *args):
    return admin_pages.url(f"provider_{name}", *args)


def html(response):
    assert response.status_code == 200, response.content
    return response.content.decode()


def typed(model, **values):
    return {
        **{"name": "new", "kind": "openai", "default_model": "gpt-4o-mini", "is_enabled": "on", "max_retries": "0"},
        **{"budget_reset_day": "1", "budget_alert_threshold": "80", "api_key": API_KEY},
        "api_base": model.openai_base,
        **values,
    }


# The list


def test_the_list_shows_status_models_budget_and_runs(model, staff):
    agent = make_priced_agent(model, monthly_budget_usd="20")
    model.script(QUARTER)
    get_agent("helper").run("hi")
    make_provider(model, name="broken", validation_error="rejected the key")
    make_provider(model, name="off", is_enabled=False)
    shown = html(staff.get(url("changelist")))
    for text in (agent.provider.name, "1 model allowed", "any model allowed", "$0.25", "of $20.00", "not tested"):
        assert text in shown, text
    for text in ("rejected the key", "switched off", "100% success"):
        assert text in shown, text


def test_the_switch_stops_a_provider_and_is_in_its_history(model, staff, client_of):
    provider = make_provider(model)
    assert client_of("view_provider").post(url("switch", provider.pk), {"is_enabled": "0"}).status_code == 403
    assert staff.get(url("switch", provider.pk)).status_code == 405
    staff.post(url("switch", provider.pk), {"is_enabled": "0"})
    provider.refresh_from_db()
    assert (provider.is_enabled, LogEntry.objects.get().get_change_message()) == (False, "Switched off.")


def test_lists_and_pages_take_the_same_number_of_queries_for_more_rows(model, staff):
    counts = []
    for number in range(2):
        for index in range(1 + 5 * number):
            make_agent(model, f"a{number}-{index}", provider=make_provider(model, name=f"p{number}-{index}"))
        first = Provider.objects.order_by("pk").first()
        for index in range(1 + 5 * number):
            first.models.create(model_id=f"m{number}-{index}")
            make_agent(model, f"b{number}-{index}", provider=first)
        staff.get(url("change", first.pk))
        counts.append([count_queries(staff, url("changelist")), count_queries(staff, url("change", first.pk))])
    assert counts[0] == counts[1]
    assert counts[0][0] <= 12
    assert counts[0][1] <= 20


# Test and fetch before saving


def test_a_connection_is_tested_before_it_is_saved_and_then_counts_as_tested(model, staff):
    model.script("ok")
    shown = html(staff.post(url("test"), typed(model, name="")))
    assert "The connection works." in shown
    assert "gpt-4o-mini answered in" in shown
    assert not Provider.objects.exists()
    staff.post(url("add"), typed(model))
    assert Provider.objects.get().validated_at is not None
    staff.post(url("add"), typed(model, name="other", api_key="sk-another"))
    assert Provider.objects.get(name="other").validated_at is None


def test_a_changed_connection_counts_as_not_tested(model, staff):
    provider = make_provider(model, validated_at=timezone.now(), validation_error="down")
    page = url("change", provider.pk)
    values = fields(staff.get(page))
    staff.post(page, {**values, "description": "new words"})
    provider.refresh_from_db()
    assert provider.validation_error == "down"
    staff.post(page, {**values, "default_model": "gpt-4o"})
    provider.refresh_from_db()
    assert (provider.validated_at, provider.validation_error) == (None, "")


def test_a_failed_test_shows_the_vendors_words_and_no_key(model, staff):
    model.script(Reply(f"no credit on {API_KEY}", status=402))
    shown = html(staff.post(url("test"), typed(model)))
    assert "The connection fails." in shown
    assert "no credit on" in shown
    assert API_KEY not in shown
    assert "API key is required" in html(staff.post(url("test"), typed(model, api_key="")))
    assert "Enter a default model first." in html(staff.post(url("test"), typed(model, default_model="")))


def test_the_saved_key_is_tested_only_at_its_own_address(model, staff):
    provider = make_provider(model)
    model.script("ok")
    address = url("test") + f"?provider={provider.pk}"
    assert "The connection works." in html(staff.post(address, typed(model, api_key="")))
    provider.refresh_from_db()
    assert provider.validated_at is not None
    elsewhere = html(staff.post(address, typed(model, api_key="", api_base="https://evil.example/v1")))
    assert "Enter it again." in elsewhere
    model.script(Reply("down", status=500))
    staff.post(address, typed(model, api_key=""))
    provider.refresh_from_db()
    assert "down" in provider.validation_error


def test_fetched_models_are_offered_with_price_and_added_when_ticked(model, staff):
    shown = html(staff.post(url("models"), typed(model)))
    assert 'name="add_models"' in shown
    assert "Use as default" in shown
    staff.post(url("add"), typed(model, add_models=["stand-in-large", "stand-in-large", "x" * 201]))
    provider = Provider.objects.get()
    assert list(provider.models.values_list("model_id", "is_listed")) == [
        ("gpt-4o-mini", None),
        ("stand-in-large", True),
    ]
    assert "Added model “stand-in-large”" in LogEntry.objects.get().get_change_message()
    again = html(staff.post(url("models") + f"?provider={provider.pk}", typed(model, api_key="")))
    assert "in the list" in again


def test_testing_and_fetching_need_the_permission_to_save(model, client_of):
    provider = make_provider(model)
    viewer, adder = client_of("view_provider"), client_of("view_provider", "add_provider")
    for name in ("test", "models"):
        assert viewer.post(url(name), typed(model)).status_code == 403
        assert viewer.post(url(name) + f"?provider={provider.pk}", typed(model)).status_code == 403
        assert adder.post(url(name) + f"?provider={provider.pk}", typed(model)).status_code == 403
        assert adder.get(url(name)).status_code == 405
    adder.post(url("add"), typed(model, add_models=["stand-in-large"]))
    assert not ProviderModel.objects.exists()
    assert viewer.get(url("change", provider.pk)).status_code == 200
    assert len(model.requests) == 0


# The page


def test_the_page_shows_who_uses_the_provider_its_models_and_usage(model, staff):
    agent = make_priced_agent(model, monthly_budget_usd="20")
    other = make_agent(model, "second", provider=make_provider(model, name="other"), is_enabled=False)
    Fallback.objects.create(agent=other, provider=agent.provider, model="gpt-4o")
    model.script(QUARTER)
    get_agent("helper").run("hi")
    shown = html(staff.get(url("change", agent.provider_id)))
    for text in ("helper", "second", "as fallback", "Next reset", "Alert at", "your own price", "Usage by model"):
        assert text in shown, text
    assert 'value="20"' in shown


def test_a_model_is_edited_on_its_own_page_which_leads_back(model, staff):
    provider = make_provider(model)
    add = admin_pages.url("providermodel_add") + f"?provider={provider.pk}"
    sent = {**fields(staff.get(add)), "provider": provider.pk, "model_id": "own", "input_cost_per_mtok": "-1"}
    assert "input_cost_per_mtok" in staff.post(add, sent).context["adminform"].form.errors
    answer = staff.post(add, {**sent, "input_cost_per_mtok": "1.5", "output_cost_per_mtok": "3"})
    assert answer.headers["Location"].startswith(url("change", provider.pk))
    row = provider.models.get()
    page = admin_pages.url("providermodel_change", row.pk)
    assert 'value="1.50"' in html(staff.get(page))
    staff.post(page, {**fields(staff.get(page)), "accepts_tools": "false"})
    row.refresh_from_db()
    assert (row.accepts_tools, row.input_cost_per_mtok) == (False, 1.5)
    gone = staff.post(admin_pages.url("providermodel_delete", row.pk), {"post": "yes"})
    assert gone.headers["Location"].startswith(url("change", provider.pk))


def test_resetting_the_spend_needs_a_reason_and_lets_calls_pass_again(model, staff, client_of):
    agent = make_priced_agent(model, monthly_budget_usd="0.30")
    model.script(QUARTER)
    get_agent("helper").run("hi")
    with pytest.raises(BudgetExceeded):
        get_agent("helper").run("hi")
    page = url("reset_spend", agent.provider_id)
    assert client_of("view_provider").post(page, {"reason": "x"}).status_code == 403
    assert "Reset $0.25" in html(staff.get(page))
    assert "This field is required." in html(staff.post(page, {"reason": " "}))
    staff.post(page, {"reason": "Test runs"})
    spend = Spend.objects.get(owner="provider")
    assert (spend.spent_usd, spend.written_off_usd, spend.alerted_at) == (0, 0.25, None)
    assert LogEntry.objects.get().get_change_message() == "Spend of $0.25 reset. Reason: Test runs"
    model.script(QUARTER)
    get_agent("helper").run("hi")
    assert list(find_drift("north")) == []


def test_an_agents_spend_is_reset_as_well(model, client_of):
    staff = client_of("view_agentconfig", "change_agentconfig")
    agent = make_priced_agent(model)
    AgentConfig.objects.update(monthly_budget_usd="0.30")
    form = admin_pages.url("agentconfig_change", agent.pk)
    page = admin_pages.url("agentconfig_reset_spend", agent.pk)
    assert page not in html(staff.get(form))
    model.script(QUARTER)
    get_agent("helper").run("hi")
    with pytest.raises(BudgetExceeded):
        get_agent("helper").run("hi")
    assert page in html(staff.get(form))
    assert client_of("view_agentconfig").post(page, {"reason": "x"}).status_code == 403
    staff.post(page, {"reason": "Test runs"})
    assert Spend.objects.get(owner="agent").spent_usd == 0
    assert Spend.objects.get(owner="provider").spent_usd == Decimal("0.25")
    assert LogEntry.objects.get().get_change_message() == "Spend of $0.25 reset. Reason: Test runs"
    get_agent("helper").run("hi")


# In a browser


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, SCHEMES, strict=True)])
def test_providers_fit_their_screen_and_have_no_barrier(browser, site, model, width, scheme):
    panel_data.fill(runs=10, api_base=model.openai_base)
    page = open_page(browser, site, width=width, scheme=scheme)
    page.goto(url("changelist"))
    assert_sound(page)
    page.goto(url("change", Provider.objects.get(name="openai-main").pk))
    padding = "input => parseFloat(getComputedStyle(input).paddingLeft)"
    assert page.eval_on_selector(".za-money input", padding) > 20, "the dollar sign covers the amount"
    page.click("text=Fetch models")
    page.wait_for_selector(".za-fetched")
    page.click("text=Replace")
    page.check("[name=kind][value=azure]")
    assert page.is_visible("[name=api_version]")
    assert not page.is_visible("[name=organization]")
    assert_sound(page)
