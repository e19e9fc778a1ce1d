"""The agents' list, form and playground in a real browser."""

import pytest

from tests import panel_data
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from zango_ai import get_run
from zango_ai.models import AgentConfig, Invocation, PromptVersion
from zango_ai.testing import Call, Reply

AGENTS = "/admin/zango_ai/agentconfig/"


@pytest.fixture
def filled(site, model):
    panel_data.fill(runs=10, api_base=model.openai_base)
    return site


def open_agent(browser, site, name, where="change", **options):
    page = open_page(browser, site, **options)
    page.goto(f"{AGENTS}{AgentConfig.objects.get(name=name).pk}/{where}/")
    return page


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, SCHEMES, strict=True)])
def test_form_and_playground_fit_their_screen_and_have_no_barrier(browser, filled, model, width, scheme):
    page = open_agent(browser, filled, "care-assistant", width=width, scheme=scheme)
    page.wait_for_selector("#id_model_info:has-text('per million')")
    assert_sound(page)
    page.goto(page.url.replace("change", "playground"))
    model.script(Reply("I will note it.", calls=[Call("record_note", {"patient_id": 1, "text": "Seen."})]))
    page.fill("#id_message", "Note that she was seen.")
    page.fill("[name='sysvar-clinic']", "North")
    page.click("text=Run")
    page.wait_for_selector("[data-za-decide]")
    page.click("text=Compare")
    assert_sound(page)


def test_the_form_follows_what_is_typed(browser, filled):
    page = open_agent(browser, filled, "patient-summary")
    page.fill("#id_name", "history-reader")
    page.wait_for_selector(".za-agent-code code:has-text('get_agent(\"history-reader\")')")
    page.check("[name=output_schema][value=json]")
    page.fill("#id_output_json_schema", '{"type": "objekt"}')
    page.wait_for_selector("#id_output_json_schema[aria-invalid=true]")
    assert "objekt" in page.inner_text("#id_output_json_schema_status")
    page.select_option("#id_user_prompt", "")
    page.wait_for_selector(".field-user_prompt_text:has-text('No prompt chosen')")
    page.fill("#id_model", "gpt-4o")
    assert page.locator("#id_model_models [role=option]").all_inner_texts()[0].startswith("gpt-4o")
    assert_sound(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.input_value("#id_model") == "gpt-4o"
    assert "per million tokens" in page.inner_text("#id_model_info")


def test_an_agent_is_tried_in_two_columns_and_a_tool_call_is_approved(browser, filled, model):
    page = open_agent(browser, filled, "care-assistant", "playground")
    page.fill("#id_message", "Note that she was seen.")
    page.fill("[name='sysvar-clinic']", "North")
    page.click("text=Compare")
    page.select_option("[name=c2-system_version]", "draft")
    page.fill("[name=c2-system_draft]", "Answer in {{ language }}.")
    page.fill("[name='sysvar-language']", "Latin")
    model.script(*["Noted."] * 2)
    page.click("text=Run")
    page.wait_for_selector("[data-za-column='2'] .za-run-figures")
    page.wait_for_selector("[data-za-column='1'] .za-run-figures")
    assert page.locator(".za-answer").all_inner_texts() == ["Noted.", "Noted."]
    runs = Invocation.objects.order_by("-pk")[:2]
    assert {run.system_prompt_version for run in runs} == {2, None}
    assert "Answer in Latin." in {run.rendered_system_prompt for run in runs}
    assert not PromptVersion.objects.filter(content__contains="language").filter(status="active").exists()
    page.click("[data-za-remove]:visible")
    model.script(
        Reply("I will note it.", calls=[Call("record_note", {"patient_id": 1, "text": "Seen."})]), "It is noted."
    )
    page.click("text=Run")
    page.check("[data-za-column='1'] input[value=approve]")
    page.click("text=Continue the run")
    page.wait_for_selector("[data-za-column='1'] .za-answer:has-text('It is noted.')")
    assert Invocation.objects.order_by("-pk").first().status == "success"


def test_a_run_is_stopped(browser, filled, model):
    page = open_agent(browser, filled, "front-desk-chat", "playground")
    page.fill("#id_message", "Tell me all.")
    model.script(Reply("word " * 400, trickle_s=0.05))
    page.click("text=Run")
    page.wait_for_selector(".za-answer:has-text('word')")
    page.click("text=Stop")
    page.wait_for_selector("[data-za-status]:has-text('Stopped')")
    page.wait_for_selector("button[name=run]:visible")
    run = Invocation.objects.order_by("-pk").first()
    assert get_run(run.run_id).wait(30) == "cancelled"
    page.wait_for_selector(f".za-run-links:has-text('Invocation {run.pk}')")
