"""Agents that answer in JSON: how the vendor is asked, what comes back, how it is corrected."""

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from django.core.exceptions import FieldError
from pydantic import BaseModel, Field

from tests.build import make_agent, make_priced_agent, make_prompt, make_provider
from zango_ai import LLMFile, get_agent
from zango_ai.exceptions import OutputParseError, OutputSchemaInvalid, OutputValidationError
from zango_ai.models import AgentConfig, Fallback, Invocation, InvocationRound, MemoryMessage, Spend
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("north")

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "note": {"type": ["string", "null"]}},
    "required": ["total"],
}
STRICT = {**SCHEMA, "required": ["total", "note"], "additionalProperties": False}
OPTIONAL = {"type": "object", "properties": {"total": {"type": "number"}}}
LOOSE = {"type": "object", "properties": {"total": {"type": "number"}, "more": {"type": "object"}}}


def make_json_agent(model, schema=SCHEMA, **fields):
    return make_agent(model, output_schema="json", output_json_schema=schema, **fields)


def ask(model, **options):
    return get_agent("helper").run("What is the total?", **options)


# How the vendor is asked


@pytest.mark.parametrize("kind", ["openai", "azure", "mistral", "groq"])
def test_a_schema_goes_to_openai_and_the_like_in_strict_form(model, kind):
    make_json_agent(model, provider=make_provider(model, kind=kind))
    model.script('{"total": 3, "note": null}')
    assert ask(model).parsed_content == {"total": 3, "note": None}
    sent = model.requests[-1].body["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "answer", "schema": STRICT, "strict": True}}
    assert InvocationRound.objects.get().request_params["response_format"] == sent
    assert [message["content"] for message in model.requests[-1].body["messages"]] == ["What is the total?"]


def test_a_schema_that_cannot_be_strict_goes_as_it_is(model):
    make_json_agent(model, LOOSE)
    model.script("{}")
    ask(model)
    assert model.requests[-1].body["response_format"]["json_schema"] == {
        "name": "answer",
        "schema": LOOSE,
        "strict": False,
    }


def test_anthropic_and_gemini_are_asked_in_their_own_form(model):
    make_json_agent(model, provider=make_provider(model, kind="anthropic"))
    model.script('{"total": 3, "note": null}')
    ask(model)
    assert model.requests[-1].body["output_format"]["schema"]["required"] == ["total", "note"]
    AgentConfig.objects.update(provider=make_provider(model, kind="gemini", name="g"))
    model.script('{"total": 3, "note": null}')
    ask(model)
    form = model.requests[-1].body["generationConfig"]
    assert form["response_mime_type"] == "application/json"
    assert form["response_json_schema"]["required"] == ["total", "note"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("openai", "gpt-3.5-turbo"),
        ("anthropic", "claude-3-haiku-20240307"),
        ("bedrock", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
    ],
)
def test_a_model_that_takes_no_schema_is_told_it_in_words(model, kind, name):
    make_json_agent(
        model,
        provider=make_provider(model, kind=kind, default_model=name),
        system_prompt=make_prompt("Be exact.", "system"),
    )
    model.script('{"total": 3}')
    assert ask(model).parsed_content == {"total": 3}
    sent = json.dumps(model.requests[-1].body)
    assert "Be exact." in sent
    assert "match this JSON Schema" in sent
    assert "json_tool_call" not in sent  # which would keep any other tool from being called
    logged = InvocationRound.objects.get().request_messages
    assert [message["role"] for message in logged] == ["system", "user"]
    assert json.dumps(SCHEMA) in logged[0]["content"]
    if kind == "openai":
        assert model.requests[-1].body["response_format"] == {"type": "json_object"}


def test_a_fallback_is_asked_in_its_own_form(model):
    agent = make_json_agent(model)
    Fallback.objects.create(
        agent=agent,
        provider=make_provider(model, name="old", kind="anthropic", default_model="claude-3-haiku-20240307"),
    )
    model.script(Reply("down", status=503), '{"total": 1}')
    ask(model)
    first, second = InvocationRound.objects.order_by("number")
    assert [len(each.request_messages) for each in (first, second)] == [1, 2]


def test_properties_keep_their_order(model):
    """A model answers in the order of the schema: what it is to think of first has to stand first."""
    make_json_agent(model, {"type": "object", "properties": {"why": {"type": "string"}, "a": {"type": "string"}}})
    AgentConfig.objects.get().save()
    model.script("{}")
    ask(model)
    assert list(model.requests[-1].body["response_format"]["json_schema"]["schema"]["properties"]) == ["why", "a"]


# Corrections


def test_an_answer_that_does_not_match_goes_back_with_its_errors(model):
    make_json_agent(model, output_retries=2)
    model.script('{"total": "three"}', "Sorry!", '{"total": 3}')
    response = ask(model)
    assert response.parsed_content == {"total": 3}
    assert len(model.requests) == 3
    second, third = (request.body["messages"] for request in model.requests[1:])
    assert second[1] == {"role": "assistant", "content": '{"total": "three"}'}
    assert "$.total: 'three' is not of type 'number'" in second[2]["content"]
    assert [message["role"] for message in third] == ["user", "assistant", "user", "assistant", "user"]
    assert "is not valid JSON" in third[-1]["content"]
    row = Invocation.objects.get()
    assert (row.status, row.rounds_count, row.response_content) == ("success", 3, '{"total": 3}')
    assert row.input_tokens == sum(InvocationRound.objects.values_list("input_tokens", flat=True))


def test_the_last_failure_is_raised_and_each_attempt_is_billed(model):
    make_priced_agent(model, output_schema="json", output_json_schema=SCHEMA, output_retries=1)
    model.script(Reply("{}", output_tokens=1000), Reply('{"total": null}', output_tokens=1000))
    with pytest.raises(OutputValidationError) as caught:
        ask(model)
    assert caught.value.field == "$.total"
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.rounds_count, row.cost_usd) == ("failed", 2, Decimal("0.5"))
    assert Spend.objects.get(owner="provider").spent_usd == Decimal("0.5")


def test_without_corrections_the_first_failure_is_raised(model):
    make_json_agent(model)
    model.script("{}")
    with pytest.raises(OutputValidationError):
        ask(model)
    assert len(model.requests) == 1


def test_an_answer_that_was_cut_off_is_not_asked_for_again(model):
    make_json_agent(model, output_retries=3)
    model.script(Reply('{"total": ', finish_reason="length"))
    with pytest.raises(OutputParseError, match="token limit"):
        ask(model)
    assert len(model.requests) == 1


def test_an_empty_answer_is_asked_for_again(model):
    make_json_agent(model, output_retries=1)
    model.script("", '{"total": 1}')
    assert ask(model).parsed_content == {"total": 1}
    assert [message["role"] for message in model.requests[-1].body["messages"]] == ["user", "user"]


def test_memory_keeps_the_question_and_the_last_answer(model):
    make_json_agent(model, output_retries=1, short_term_memory=True)
    model.script("{}", '{"total": 1}', "{}", "[]")
    ask(model, session_id="s")
    with pytest.raises(OutputValidationError):
        ask(model, session_id="s")
    assert list(MemoryMessage.objects.values_list("content", flat=True)) == [
        "What is the total?",
        '{"total": 1}',
        "What is the total?",
        "[]",
    ]


def test_files_go_along_with_a_correction(model):
    make_json_agent(model, output_retries=1)
    model.script("{}", '{"total": 1}')
    ask(model, files=[LLMFile.from_bytes(b"a,b", "text/csv", "t.csv")])
    first, *_, last = model.requests[-1].body["messages"]
    assert 'File "t.csv"' in first["content"][0]["text"]
    assert isinstance(last["content"], str)


# A type of the caller's


class Item(BaseModel):
    name: str
    price: Decimal


class Invoice(BaseModel):
    due: date
    items: list[Item]
    note: str | None = None


@dataclass
class Point:
    x: int
    y: int = 0


def test_a_pydantic_model_is_asked_for_and_comes_back(model):
    make_agent(model)  # configured to answer in text
    model.script('{"due": "2026-12-01", "items": [{"name": "tea", "price": "2.50"}], "note": null}')
    invoice = ask(model, output_type=Invoice).parsed_content
    assert invoice == Invoice(due=date(2026, 12, 1), items=[Item(name="tea", price=Decimal("2.50"))])
    assert "response_format" in model.requests[-1].body
    assert ask(model).parsed_content is None  # for that call only


def test_a_dataclass_overrides_the_configured_schema(model):
    make_json_agent(model)
    model.script('{"x": 1, "y": 2}')
    assert ask(model, output_type=Point).parsed_content == Point(1, 2)
    model.script('{"total": 1}')
    assert ask(model).parsed_content == {"total": 1}


def test_what_does_not_fit_the_type_is_corrected_too(model):
    make_agent(model, output_retries=1)
    model.script('{"x": 1, "y": "far"}', '{"x": 1, "y": 2}')
    assert ask(model, output_type=Point).parsed_content == Point(1, 2)
    assert "$.y: " in model.requests[-1].body["messages"][-1]["content"]


def test_what_the_schema_cannot_say_is_said_by_the_type(model):
    from pydantic import field_validator

    class Even(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def must_be_even(cls, number: int) -> int:
            if number % 2:
                raise ValueError("is odd")
            return number

    make_agent(model)
    model.script('{"number": 3}')
    with pytest.raises(OutputValidationError) as caught:
        ask(model, output_type=Even)
    assert (caught.value.field, "is odd" in caught.value.errors[0]["message"]) == ("$.number", True)


@pytest.mark.parametrize("wrong", [object(), 5, "Invoice", [SCHEMA], b"{}"])
def test_what_is_no_type_is_a_type_error_with_a_row(model, wrong):
    make_agent(model)
    allowed = (
        "a pydantic model, a dataclass, another type that pydantic can read from JSON, or a JSON schema as a dict"
    )
    with pytest.raises(TypeError, match=allowed) as caught:
        ask(model, output_type=wrong)
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"
    assert model.requests == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("json", "output_type is the str 'json'; pass a pydantic model, a dataclass"),
        (object, "output_type is object, which fits any value; pass a pydantic model"),
        (lambda: None, "output_type is a function; pass a pydantic model"),
        (Point(1, 2), "output_type is an instance of Point; pass the class Point."),
        (
            Invoice(due=date(2026, 12, 1), items=[]),
            "output_type is an instance of Invoice; pass the class Invoice.",
        ),
    ],
)
def test_a_wrong_output_type_is_told_in_one_line_before_anything_is_sent(model, wrong, said):
    make_agent(model)
    with pytest.raises(TypeError) as caught:
        ask(model, output_type=wrong)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert model.requests == []


@pytest.mark.parametrize("answer", ["no JSON", '{"total": "three"}'])
def test_an_invalid_answer_names_the_agent_and_the_model(model, answer):
    make_agent(model, output_retries=1)
    model.script(answer, answer)
    with pytest.raises((OutputParseError, OutputValidationError), match=r"^Agent 'helper', model 'gpt-4o-mini': "):
        ask(model, output_type=SCHEMA)
    assert "helper" not in json.dumps(model.requests[1].body["messages"])


def test_a_json_schema_can_be_given_as_a_dict(model):
    make_agent(model, output_retries=1)
    model.script('{"total": "three"}', '{"total": 3}')
    response = ask(model, output_type=SCHEMA)
    assert response.parsed_content == {"total": 3}
    assert model.requests[0].body["response_format"]["json_schema"]["schema"] == STRICT
    assert "$.total" in model.requests[1].body["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "objekt"}, r"\$\.type"),
        ({"pattern": "(?=a)"}, "lookahead"),
        ({"default": object()}, "cannot be used"),
    ],
)
def test_a_dict_that_is_no_json_schema_is_refused_before_anything_is_sent(model, schema, words):
    make_agent(model)
    with pytest.raises(OutputSchemaInvalid, match=f"output_type.*{words}") as caught:
        ask(model, output_type=schema)
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"
    assert model.requests == []


def test_a_type_whose_patterns_only_python_can_check_is_checked_by_pydantic(model):
    class Code(BaseModel, regex_engine="python-re"):
        text: str = Field(pattern="^(?!x)[a-z]+$")

    make_agent(model)
    model.script('{"text": "abc"}', '{"text": "xyz"}')
    assert ask(model, output_type=Code).parsed_content == Code(text="abc")
    with pytest.raises(OutputValidationError, match=r"does not match output_type: \$\.text: String should match"):
        ask(model, output_type=Code)


# Configuration


def test_the_form_warns_of_a_schema_that_cannot_be_strict(model, caplog):
    agent = make_json_agent(model, LOOSE)
    agent.clean()
    assert "$.more is an object with arbitrary property names" in caplog.text
    assert "The vendor cannot enforce the JSON schema" in agent.strict_schema_warning()
    agent.output_json_schema = SCHEMA
    assert agent.strict_schema_warning() == ""


def test_large_answers_are_checked_by_the_compiled_validator_alone(model, monkeypatch):
    """It takes a hundredth of the time; the other one is asked where something is wrong."""
    from zango_ai.output import json_schema
    from zango_ai.output.json_schema import answer_errors

    asked = []
    monkeypatch.setattr(answer_errors, "_validator", lambda schema: asked.append(schema) or 1 / 0)
    json_schema.validate({"total": 1}, SCHEMA)
    assert asked == []


@pytest.mark.parametrize("kind", ["openai", "anthropic", "bedrock"])
def test_json_without_a_schema_is_asked_for_in_words(model, kind):
    make_json_agent(model, None, provider=make_provider(model, kind=kind))
    model.script("{}")
    ask(model)
    assert "Reply with one JSON value" in json.dumps(model.requests[-1].body)
    if kind == "openai":
        assert model.requests[-1].body["response_format"] == {"type": "json_object"}


def test_a_list_of_things_is_asked_for_in_words(model):
    """OpenAI refuses a schema that is no object, and its JSON mode answers with one."""
    make_agent(model)
    model.script("[1, 2]")
    assert ask(model, output_type=list[int]).parsed_content == [1, 2]
    assert "response_format" not in model.requests[-1].body
    assert "JSON Schema" in model.requests[-1].body["messages"][0]["content"]


@pytest.mark.parametrize("schema", [LOOSE, {"type": "object", "additionalProperties": {"type": "string"}}])
def test_anthropic_is_told_in_words_what_litellm_would_make_another_schema_of(model, schema):
    make_json_agent(model, schema, provider=make_provider(model, kind="anthropic"))
    model.script("{}")
    ask(model)
    assert "output_format" not in model.requests[-1].body
    assert "JSON Schema" in json.dumps(model.requests[-1].body["system"])


def test_a_model_that_refuses_is_not_asked_again(model):
    make_json_agent(model, output_retries=3)
    model.script(Reply("", finish_reason="content_filter"))
    with pytest.raises(OutputParseError, match="refused"):
        ask(model)
    assert len(model.requests) == 1


def test_a_strict_pydantic_model_can_be_read(model):
    class Day(BaseModel, strict=True):
        on: date

    make_agent(model)
    model.script('{"on": "2026-12-01"}')
    assert ask(model, output_type=Day).parsed_content == Day(on=date(2026, 12, 1))


def test_agents_with_schemas_can_be_listed_as_any_rows(model):
    make_json_agent(model)
    assert AgentConfig.objects.distinct().count() == 1
    assert AgentConfig.objects.filter(output_json_schema__isnull=False).count() == 1
    with pytest.raises(FieldError):
        AgentConfig.objects.filter(output_json_schema__type="object").count()
