"""How self-hosted models are asked for JSON, and what happens where a server refuses a form."""

import json

import pytest

from tests.build import make_agent, make_agent_with, make_provider
from zango_ai import get_agent, tool
from zango_ai.exceptions import LLMAPIError, ModelNotAvailable, OutputValidationError
from zango_ai.models import AgentConfig, InvocationRound
from zango_ai.providers import refused_json_forms
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("north")

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "note": {"type": "string"}},
    "required": ["total"],
}
REFUSED = "response_format: json_schema is not supported"
NO_JSON_MODE = "json mode is not supported (response_format)"


def make_json_agent(model, schema=SCHEMA, kind="openai_compatible", **fields):
    provider = fields.pop("provider", None) or make_provider(model, kind=kind, default_model="llama")
    return make_agent(model, provider=provider, output_schema="json", output_json_schema=schema, **fields)


def ask():
    return get_agent("helper").run("What is the total?")


def forms(model):
    return [(request.body.get("response_format") or {}).get("type", "words") for request in model.requests]


@pytest.mark.parametrize("kind", ["openai_compatible", "ollama"])
def test_a_self_hosted_model_gets_the_schema_and_is_told_it_as_well(model, kind):
    """A server that overlooks the schema in silence has to answer in JSON all the same."""
    make_json_agent(model, kind=kind)
    model.script('{"total": 3, "note": null}')
    assert ask().parsed_content == {"total": 3}
    sent = model.requests[0].body
    assert sent["response_format"]["json_schema"]["strict"] is True
    assert sent["response_format"]["json_schema"]["schema"]["required"] == ["total", "note"]
    assert json.dumps(SCHEMA) in sent["messages"][0]["content"]


def test_a_self_hosted_model_takes_a_schema_of_any_type(model):
    make_json_agent(model, {"type": "array", "items": {"type": "string"}})
    model.script('["a"]')
    assert ask().parsed_content == ["a"]
    assert forms(model) == ["json_schema"]


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_refused_schema_falls_back_to_json_mode_and_then_to_words_in_the_same_run(model, status):
    make_json_agent(model)
    model.script(
        Reply(REFUSED, status=status), Reply(NO_JSON_MODE, status=status), Reply('{"total": 3}', output_tokens=5)
    )
    response = ask()
    assert response.parsed_content == {"total": 3}
    assert forms(model) == ["json_schema", "json_object", "words"]
    assert json.dumps(SCHEMA) in model.requests[2].body["messages"][0]["content"]
    rounds = InvocationRound.objects.order_by("number")
    assert [row.status for row in rounds] == ["failed", "failed", "success"]
    assert [row.output_tokens for row in rounds] == [0, 0, 5]
    assert REFUSED in rounds[0].error_message


def test_a_refusal_is_remembered_for_the_provider_and_model_only(model):
    agent = make_json_agent(model)
    model.script(Reply(REFUSED, status=400), '{"total": 1}', '{"total": 2}')
    ask()
    ask()
    assert forms(model) == ["json_schema", "json_object", "json_object"]
    model.script('{"total": 3}')
    AgentConfig.objects.filter(pk=agent.pk).update(model="another")
    ask()
    assert forms(model)[3:] == ["json_schema"]


def test_a_refusal_is_forgotten_after_a_while(model, monkeypatch):
    make_json_agent(model)
    model.script(Reply(REFUSED, status=400), '{"total": 1}', '{"total": 2}')
    ask()
    monkeypatch.setattr(refused_json_forms, "REMEMBERED_S", 0.0)
    ask()
    assert forms(model) == ["json_schema", "json_object", "json_schema"]


def test_a_schema_that_the_server_cannot_compile_stops_no_other(model):
    agent = make_json_agent(model)
    model.script(Reply("failed to parse grammar", status=400), '{"total": 1}')
    ask()
    AgentConfig.objects.filter(pk=agent.pk).update(output_json_schema={**SCHEMA, "title": "another"})
    model.script('{"total": 1}')
    ask()
    assert forms(model) == ["json_schema", "json_object", "json_schema"]


@pytest.mark.parametrize(
    "reply", [Reply("the prompt has no text", status=400), Reply("schema for function 'f' is bad", status=400)]
)
def test_another_error_is_no_refusal_of_the_form(model, reply):
    make_json_agent(model)
    model.script(reply)
    with pytest.raises(LLMAPIError):
        ask()
    assert len(model.requests) == 1


def test_what_the_provider_row_says_counts_more_than_the_price_list(model):
    for kind, name, said, form in (
        ("openai_compatible", "llama", False, "json_object"),
        ("openai", "gpt-5-mini", False, "json_object"),
        ("openai", "gpt-3.5-turbo", True, "json_schema"),
    ):
        provider = make_provider(model, kind=kind, default_model=name, name=name)
        provider.models.create(model_id=name, accepts_schema=said)
        AgentConfig.objects.all().delete()
        make_json_agent(model, provider=provider)
        model.script('{"total": 1}')
        ask()
        assert forms(model)[-1] == form


@tool(name="tell_time", description="The time of day.")
def tell_time() -> str:
    return "noon"


def test_a_model_listed_without_tools_is_not_asked_by_an_agent_with_tools(model):
    provider = make_provider(model)
    row = provider.models.create(model_id=provider.default_model, accepts_tools=False)
    make_agent_with(model, tell_time, provider=provider)
    with pytest.raises(ModelNotAvailable, match="no tools"):
        ask()
    assert model.requests == []
    row.accepts_tools = None
    row.save()
    assert ask().content


def test_the_text_of_an_answer_stays_to_the_letter_where_nulls_are_dropped(model):
    make_json_agent(model, kind="openai", provider=make_provider(model))
    text = '{"total": 3, "note": null}'
    model.script(text)
    response = ask()
    assert (response.content, response.parsed_content) == (text, {"total": 3})


def test_a_null_for_a_required_property_is_still_an_error(model):
    make_json_agent(model)
    model.script('{"total": null, "note": null}')
    with pytest.raises(OutputValidationError) as caught:
        ask()
    assert [error["path"] for error in caught.value.errors] == ["$.total"]
