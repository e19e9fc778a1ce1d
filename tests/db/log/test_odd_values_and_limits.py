"""Trouble that is not the provider's: lost connections, odd figures, limits that cut in, values that resist."""

import pickle

import pytest
from django.db import connection, connections, transaction

from tests.build import API_KEY, make_agent, make_prompt, make_provider
from tests.children import child, said
from tests.schemas import get_tenant_model, needs_tenants, schema_context
from zango_ai import LLMMessage, get_agent, get_prompt
from zango_ai.database import ledger_connection
from zango_ai.exceptions import (
    AgentNotFound,
    LLMAPIError,
    LogUnavailable,
    OutputSchemaInvalid,
    PromptNotFound,
    PromptRenderError,
    ProviderConfigInvalid,
)
from zango_ai.models import AgentConfig, Invocation, InvocationRound
from zango_ai.testing import ModelServer, Reply


def end_the_ledgers_connection():
    """As a restart of the database or a pooler would."""
    own = ledger_connection.own_connection()
    with own.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_a_connection_lost_before_the_run_is_made_anew(model, live_north):
    make_agent(model)
    get_agent("helper").run("one")
    end_the_ledgers_connection()
    response = get_agent("helper").run("two")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.rounds.get().status) == ("success", "success")


def test_a_connection_lost_during_the_call_loses_neither_answer_nor_row(model, live_north, monkeypatch):
    from zango_ai.providers.calls import PreparedCall

    make_agent(model)
    really = PreparedCall.send

    def ask(*args):
        answer = really(*args)
        end_the_ledgers_connection()
        return answer

    monkeypatch.setattr(PreparedCall, "send", ask)
    response = get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.rounds.get().status) == ("success", "success")
    assert Invocation.objects.count() == InvocationRound.objects.count() == 1


@needs_tenants
def test_a_tenant_that_is_not_committed_cannot_be_logged_and_nothing_is_sent(
    model, live_tenants, django_db_blocker
):
    with pytest.raises(LogUnavailable, match="committed"), transaction.atomic():
        get_tenant_model()(schema_name="fresh", name="Fresh").save(verbosity=0)
        with schema_context("fresh"):
            make_agent(model)
            get_agent("helper").run("hi")
    assert model.requests == []


@needs_tenants
def test_a_tenant_rolled_back_in_a_test_takes_its_log_along_and_the_test_goes_on(model, tenants):
    class Undo(Exception):
        pass

    with pytest.raises(Undo), transaction.atomic():
        get_tenant_model()(schema_name="fresh", name="Fresh").save(verbosity=0)
        with schema_context("fresh"):
            make_agent(model)
            get_agent("helper").run("hi")
        raise Undo
    assert not get_tenant_model().objects.filter(schema_name="fresh").exists()


@pytest.mark.parametrize("count", [-5, 10**19, None])
def test_figures_that_make_no_sense_do_not_lose_the_row(model, north, count):
    make_agent(model)
    usage = "null" if count is None else f'{{"prompt_tokens": {count}, "completion_tokens": 0, "total_tokens": 0}}'
    raw = (
        '{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, '
        f'"message": {{"role": "assistant", "content": "hi"}}, "finish_reason": "stop"}}], "usage": {usage}}}'
    )
    model.script(Reply(raw=raw.encode()))
    response = get_agent("helper").run("hi")
    row = Invocation.objects.get()
    assert (row.status, row.rounds.get().status) == ("success", "success")
    assert response.is_cost_known == (count == 10**19)


@pytest.mark.parametrize("raw", [b"null", b"[]", b"{}", b'{"choices": []}', b"<html>"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_an_answer_in_no_protocol_is_said_to_be_that(model, north, kind, raw):
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(Reply(raw=raw))
    with pytest.raises(LLMAPIError, match="not in its protocol") as caught:
        get_agent("helper").run("hi")
    assert caught.value.status_code == 200


class Stop(Exception):
    """As Celery's SoftTimeLimitExceeded: an Exception that a signal raises."""


def test_a_time_limit_that_cuts_in_is_not_taken_for_the_providers_fault(model, north, monkeypatch):
    from zango_ai.providers import addresses

    def cut(*args):
        raise Stop

    make_agent(model, provider=make_provider(model, max_retries=2))
    monkeypatch.setattr(addresses, "resolve", cut)
    monkeypatch.setattr("zango_ai.providers.clients._clients", {})
    with pytest.raises(Stop) as caught:
        get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.error_type, row.rounds_count) == ("Stop", 1)


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk one", "sk-\u00e9", "sk-\x00"])
def test_a_key_that_no_header_takes_is_refused_and_not_shown(model, north, key):
    credentials = {"api_key": key, "api_base": model.openai_base}
    make_agent(model, provider=make_provider(model, credentials=credentials))
    with pytest.raises(ProviderConfigInvalid) as caught:
        get_agent("helper").run("hi")
    assert caught.value.field == "api_key"
    assert "sk" not in str(caught.value)


def test_a_key_with_space_around_it_is_masked_as_it_was_sent(model, north):
    credentials = {"api_key": f"  {API_KEY}\n", "api_base": model.openai_base}
    make_agent(model, provider=make_provider(model, credentials=credentials))
    model.script(Reply(f"wrong key {API_KEY}", status=401))
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run("hi")
    assert API_KEY not in str(caught.value.original_error) + str(InvocationRound.objects.values())


def test_messages_may_be_any_iterable(model, north):
    make_agent(model)
    get_agent("helper").run(messages=(LLMMessage("user", text) for text in ("a", "b")))
    assert [m["content"] for m in model.requests[0].body["messages"]] == ["a", "b"]


def test_placeholders_missing_in_either_prompt_are_all_named(model, north):
    make_agent(model, system_prompt=make_prompt("{{ a }} {{ b }}", "system"), user_prompt=make_prompt("{{ c }}"))
    with pytest.raises(PromptRenderError) as caught:
        get_agent("helper").run(variables={}, system_variables={"b": 1})
    assert caught.value.missing_vars == ["a", "c"]


@pytest.mark.parametrize("bad", ["qq", 5, ["q"]])
def test_variables_that_are_no_dict_say_so(model, north, bad):
    make_agent(model, user_prompt=make_prompt("{{ q }}"))
    with pytest.raises(TypeError, match="pass a dict") as caught:
        get_agent("helper").run(variables=bad)
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"


@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "x" * 500])
def test_a_name_that_no_row_can_have_is_not_found(north, name):
    with pytest.raises(AgentNotFound):
        get_agent(name)
    with pytest.raises(PromptNotFound):
        get_prompt(name)


@pytest.mark.parametrize(("user_ref", "kept"), [(None, ""), (7, "7"), ("x" * 9000, "x" * 9000)])
def test_any_user_can_be_named(model, north, user_ref, kept):
    make_agent(model)
    get_agent("helper").run("hi", user_ref=user_ref)
    assert Invocation.objects.get().user_ref == kept


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/internal"},
        {"$ref": "#/$defs/nowhere"},
        {"type": "no such type"},
        {"pattern": "["},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_before_anything_is_paid_for(model, north, schema):
    make_agent(model, output_schema="json", output_json_schema=schema)
    with pytest.raises(OutputSchemaInvalid) as caught:
        get_agent("helper").run("as json")
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"
    assert model.requests == []
    with pytest.raises(Exception, match=r"schema|type|ref|pattern|regex"):
        AgentConfig.objects.get().full_clean()


def test_nothing_is_fetched_for_a_schema(model, north):
    """Past the check, as a row saved by other means would be."""
    from zango_ai.output import json_schema

    with ModelServer() as elsewhere:
        with pytest.raises(OutputSchemaInvalid):
            json_schema.validate({}, {"$ref": f"{elsewhere.url}/schema.json"})
        assert elsewhere.requests == []


def test_errors_travel_between_processes(model, north):
    with pytest.raises(AgentNotFound) as caught:
        get_agent("nobody")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.name) == (str(caught.value), "nobody")


def test_the_import_of_litellm_is_not_counted_against_the_timeout(model, live_north):
    make_agent(model, timeout_seconds=2)  # the import alone takes longer
    with child('print(get_agent("helper").run("hi").content)') as process:
        assert "You asked: hi" in said(process)


def test_the_ledgers_connection_keeps_no_list_of_statements(model, live_north, settings):
    settings.DEBUG = True
    make_agent(model)
    get_agent("helper").run("hi")
    assert len(ledger_connection.own_connection().queries_log) == 0
    assert ledger_connection.ALIAS not in list(connections)


def test_a_process_asks_nobody_but_the_provider(model, live_north):
    """litellm would fetch prices at its import, and a list of headers from GitHub at the first call to Claude."""
    kinds = ["openai", "anthropic", "azure", "gemini", "bedrock", "mistral", "groq", "ollama"]
    for kind in kinds:
        make_agent(model, kind, provider=make_provider(model, kind=kind, name=kind))
    code = f"""
import socket
asked = set()
really = socket.getaddrinfo
def getaddrinfo(host, *args, **options):
    asked.add(host)
    return really(host, *args, **options)
socket.getaddrinfo = getaddrinfo
for kind in {kinds!r}:
    get_agent(kind).run("hi")
from litellm import anthropic_beta_headers_manager
anthropic_beta_headers_manager._load_beta_headers_config()  # as calls to Claude do that need such headers
print(sorted(str(host) for host in asked))
"""
    with child(code) as process:
        assert said(process) in {"['127.0.0.1']", "[]"}
    assert len(model.requests) == len(kinds)
