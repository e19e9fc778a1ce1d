"""What comes back from a run, and what is written about it."""

import json
from decimal import Decimal

import pytest

from tests.build import make_agent, make_prompt, make_provider
from zango_ai import get_agent
from zango_ai.exceptions import OutputParseError, OutputValidationError
from zango_ai.models import Invocation, InvocationRound, ProviderModel
from zango_ai.testing import STAND_IN, Reply

pytestmark = pytest.mark.usefixtures("north")


def test_the_answer_its_tokens_and_its_cost_come_back_and_are_written_down(model):
    make_agent(
        model,
        system_prompt=make_prompt("Be {{ mood }}.", "system"),
        user_prompt=make_prompt("Hello {{ name }}"),
        temperature=0.2,
        max_tokens=77,
    )
    model.script(Reply("Good day.", input_tokens=1000, output_tokens=200))
    response = get_agent("helper").run(
        variables={"name": "Ada"}, system_variables={"mood": "brief"}, user_ref="u1", triggered_by="system"
    )
    # gpt-4o-mini: $0.15 and $0.60 for a million tokens.
    assert response.content == "Good day."
    assert response.cost_usd == pytest.approx(0.00027)
    assert response.is_cost_known
    assert (response.usage.input_tokens, response.usage.output_tokens) == (1000, 200)
    assert (response.model, response.stop_reason) == ("gpt-4o-mini", "end_turn")
    assert response.session_id is None
    assert response.parsed_content is None
    assert (response.tool_calls, response.pending_approvals) == ([], [])

    row = Invocation.objects.get(pk=response.invocation_id)
    assert row.run_id == response.run_id
    assert row.status == "success"
    assert row.cost_usd == Decimal("0.00027000")
    assert (row.input_tokens, row.output_tokens, row.rounds_count) == (1000, 200, 1)
    assert (row.agent_name, row.provider_name, row.model) == ("helper", "main", "gpt-4o-mini")
    assert row.agent.name == "helper"
    assert (row.triggered_by, row.user_ref) == ("system", "u1")
    assert (row.rendered_system_prompt, row.rendered_user_prompt) == ("Be brief.", "Hello Ada")
    assert (row.variables, row.system_variables) == ({"name": "Ada"}, {"mood": "brief"})
    assert row.response_content == "Good day."
    assert row.latency_ms == response.latency_ms > 0
    assert row.started_at <= row.finished_at

    round_ = row.rounds.get()
    assert (round_.number, round_.status, round_.stop_reason) == (1, "success", "end_turn")
    assert round_.cost_usd == row.cost_usd
    assert round_.request_messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello Ada"},
    ]
    assert round_.request_params == {"model": "gpt-4o-mini", "temperature": 0.2, "max_tokens": 77}
    body = model.requests[0].body
    assert (body["temperature"], body["max_tokens"]) == (0.2, 77)


def test_anthropic_is_asked_in_its_own_protocol(model):
    make_agent(
        model,
        provider=make_provider(model, kind="anthropic"),
        system_prompt=make_prompt("Be brief.", "system"),
    )
    model.script(
        Reply("Good.", input_tokens=1000, output_tokens=10, cache_read_tokens=600, cache_creation_tokens=300)
    )
    response = get_agent("helper").run("Hello")
    seen = model.requests[0]
    assert seen.path == "/v1/messages"
    assert seen.headers["x-api-key"] == "sk-secret-of-this-tenant"
    assert "Be brief." in str(seen.body["system"])
    usage = response.usage
    assert (usage.input_tokens, usage.cache_read_tokens, usage.cache_creation_tokens) == (1000, 600, 300)
    # claude-sonnet-4-5: $3 in, $0.30 read from cache, $3.75 written to it, $15 out, for a million tokens.
    assert response.cost_usd == pytest.approx((100 * 3 + 600 * 0.3 + 300 * 3.75 + 10 * 15) / 1e6)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("finish", "stop"), [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal")]
)
def test_why_the_model_stopped_is_said_alike_for_every_vendor(model, kind, finish, stop):
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(Reply("No more.", finish_reason=finish))
    assert get_agent("helper").run("hi").stop_reason == stop


def test_an_unknown_price_is_not_zero(model):
    make_agent(model, model="gpt-of-tomorrow")
    response = get_agent("helper").run("hi")
    assert (response.cost_usd, response.is_cost_known) == (0.0, False)
    assert Invocation.objects.get().cost_usd is None
    assert InvocationRound.objects.get().cost_usd is None


def test_the_providers_own_price_goes_before_the_list(model):
    provider = make_provider(model, kind="openai_compatible")
    make_agent(model, provider=provider)
    assert not get_agent("helper").run("hi").is_cost_known
    ProviderModel.objects.create(
        provider=provider,
        model_id="gpt-4o-mini",
        input_cost_per_mtok=Decimal("0.123456"),
        output_cost_per_mtok=Decimal(2),
    )
    model.script(Reply("x", input_tokens=1_000_000, output_tokens=500_000))
    assert get_agent("helper").run("hi").cost_usd == pytest.approx(1.123456)


def test_a_server_that_needs_no_key_is_never_sent_the_hosts(model, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-host")
    provider = make_provider(model, kind="openai_compatible", credentials={"api_base": model.openai_base})
    make_agent(model, provider=provider)
    get_agent("helper").run("hi")
    assert model.requests[0].headers["authorization"] == "Bearer none"


def test_json_comes_back_parsed(model):
    make_agent(model, output_schema="json", output_json_schema={"type": "object", "required": ["total"]})
    model.script('{"total": 3}')
    response = get_agent("helper").run("Add up, as JSON")
    assert response.parsed_content == {"total": 3}
    assert response.content == '{"total": 3}'


@pytest.mark.parametrize(
    ("answer", "error"), [("Certainly!", OutputParseError), ('{"sum": 3}', OutputValidationError)]
)
def test_an_answer_that_is_not_the_json_agreed_on_fails_and_is_billed(model, answer, error):
    make_agent(model, output_schema="json", output_json_schema={"type": "object", "required": ["total"]})
    model.script(Reply(answer, input_tokens=100, output_tokens=10))
    with pytest.raises(error) as caught:
        get_agent("helper").run("Add up, as JSON")
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.error_type, row.response_content) == ("failed", error.__name__, answer)
    assert row.cost_usd == row.rounds.get().cost_usd == Decimal("0.000021")


def test_without_a_script_the_stand_in_says_what_it_is(model):
    make_agent(model)
    content = get_agent("helper").run("How are you?").content
    assert content.startswith(STAND_IN)
    assert "How are you?" in content


@pytest.mark.parametrize(("inside", "trigger"), [(True, "task"), (False, "user")])
def test_the_trigger_is_known_without_being_said(model, inside, trigger):
    from celery import Celery

    make_agent(model)
    app = Celery("t", set_as_current=False)

    @app.task(name="t.ask", shared=False)
    def ask():
        return get_agent("helper").run("hi").invocation_id

    key = ask.apply(task_id="task-1").get() if inside else ask.run()
    row = Invocation.objects.get(pk=key)
    assert (row.triggered_by, row.celery_task_id) == (trigger, "task-1" if inside else "")


def test_no_row_knows_the_key(model):
    make_agent(model)
    get_agent("helper").run("hi")
    for row in [*Invocation.objects.values(), *InvocationRound.objects.values()]:
        assert "sk-secret" not in str(row)


def test_a_server_that_leaves_out_whose_message_it_is_has_answered_all_the_same(model, north):
    """Some that say they are OpenAI's do, and have billed it."""
    body = {"model": "m", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    model.script(Reply(raw=json.dumps(body).encode()))
    make_agent(model, provider=make_provider(model, kind="openai_compatible"))
    assert get_agent("helper").run("hello").content == "hi"
