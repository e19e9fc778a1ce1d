"""Inside a call to a provider nothing connects but our own HTTP client."""

import asyncio
import contextvars
import logging.handlers
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from urllib.parse import unquote

import httpx
import pytest

from tests import sweep
from zango_ai.exceptions import LLMAPIError, ModelNotAvailable, ProviderConfigInvalid
from zango_ai.providers import calls, clients, litellm_import, private_attributes
from zango_ai.providers.call_trace import CallTrace
from zango_ai.providers.kinds import KINDS
from zango_ai.testing import Reply
from zango_ai.types import LLMMessage, ModelRequest, ProviderSpec


def provider(model, kind="openai"):
    from tests.build import credentials_for

    return ProviderSpec(1, "main", kind, credentials_for(model, kind), "", True)


def ask(model, name="gpt-4o-mini", kind="openai"):
    request = ModelRequest(name, (LLMMessage("user", "hi"),), 1.0, 100, 120.0)
    return calls.prepare(provider(model, kind), request).send()


@pytest.mark.parametrize("kind", KINDS)
def test_no_model_name_leads_a_call_away_from_the_providers_vendor(model, kind):
    assert list(sweep.stray(model, kind, sweep.sample())) == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("groq", "openai/gpt-oss-20b"),
        ("groq", "meta-llama/llama-4-scout-17b-16e-instruct"),
        ("groq", "groq/compound"),
        ("openai_compatible", "meta-llama/Llama-3.3-70B-Instruct"),
        ("openai_compatible", "anthropic/claude-sonnet-4.5"),
        ("openai_compatible", "openai/gpt-oss-20b"),
        ("openai_compatible", "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M"),
        ("ollama", "library/llama3.2:1b"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc"),
    ],
)
def test_a_name_with_slashes_is_sent_as_it_is(model, kind, name):
    ask(model, name, kind)
    assert model.requests[-1].body["model"] == name


@pytest.mark.parametrize(
    "name",
    [
        "us.anthropic.claude-sonnet-4-20250514-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdef",
    ],
)
def test_bedrock_is_asked_for_profiles_and_arns(model, name):
    with suppress(LLMAPIError):  # the local server knows no ARNs
        ask(model, name, "bedrock")
    assert unquote(model.requests[-1].path) == f"/model/{name}/converse"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("anthropic", "replicate/anthropic/claude-3.5-sonnet"),
        ("gemini", "my-replicate-model"),
        ("bedrock", "replicate/foo"),
        *((kind, f"{vendor}/gpt-4o") for kind in KINDS for vendor in ("github_copilot", "chatgpt")),
        ("openai", "anthropic/claude-sonnet-4-5"),
        ("mistral", "groq/llama"),
    ],
)
def test_a_name_of_another_vendor_is_refused_with_the_reason(model, kind, name):
    with pytest.raises(ModelNotAvailable, match="another vendor") as caught:
        ask(model, name, kind)
    assert (caught.value.model, caught.value.provider_name) == (name, "main")
    assert "Nothing was sent" in str(caught.value)
    assert model.requests == []


def in_loop(work):
    """As asyncio.run(), which would leave the loop that litellm keeps for this thread unclosed."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


CLIENTS = {
    "httpx": lambda url: httpx.get(url, trust_env=False),
    "urllib": lambda url: urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5),
    "socket": lambda url: socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))),
    "asyncio": lambda url: in_loop(asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))),
}


def aiohttp_get(url):
    import aiohttp

    async def get():
        async with aiohttp.ClientSession() as session, session.get(url):
            pass

    in_loop(get())


def requests_get(url):
    return pytest.importorskip("requests").get(url, timeout=5)


@pytest.mark.parametrize(
    "get", [*CLIENTS.values(), aiohttp_get, requests_get], ids=[*CLIENTS, "aiohttp", "requests"]
)
def test_another_client_is_refused_before_it_connects(model, get):
    before = model.connections
    with CallTrace.start(20.0).active() as call, pytest.raises((OSError, httpx.ConnectError)):
        get(model.url)
    assert "127.0.0.1" in call.watch.refused
    assert model.connections == before


def test_a_client_of_litellms_own_becomes_a_configuration_error(model, monkeypatch):
    """As with a name that litellm's next release takes for another vendor's."""
    from zango_ai.providers import model_names

    monkeypatch.setattr(model_names, "problem_of", lambda kind, name: None)
    with pytest.raises(ProviderConfigInvalid, match=r"connect to .* by another client"):
        ask(model, "replicate/foo", "anthropic")
    assert model.requests == []


def test_a_vendor_that_litellm_reads_from_a_name_is_refused(model, monkeypatch):
    from zango_ai.providers import model_names

    monkeypatch.setattr(model_names, "problem_of", lambda kind, name: None)
    with pytest.raises(ProviderConfigInvalid, match="anthropic_text in place of anthropic"):
        ask(model, "claude-2", "anthropic")
    assert model.requests == []


def test_other_threads_and_the_time_after_a_call_are_left_alone(model):
    done = []

    def connect():
        socket.create_connection(("127.0.0.1", int(model.url.rpartition(":")[2]))).close()
        done.append(True)

    with CallTrace.start(20.0).active():
        # litellm runs the project's callbacks in a thread with a copy of the context.
        copied = contextvars.copy_context()
        for arguments in ((connect, ()), (copied.run, (connect,))):
            thread = threading.Thread(target=arguments[0], args=arguments[1])
            thread.start()
            thread.join()
    connect()
    assert len(done) == 3


def test_a_logging_handler_may_send_datagrams_from_inside_a_call():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector, CallTrace.start(20.0).active() as call:
        collector.bind(("127.0.0.1", 0))
        handler = logging.handlers.SysLogHandler(collector.getsockname())
        handler.emit(logging.makeLogRecord({"msg": "hello"}))
        handler.close()
        assert b"hello" in collector.recv(1000)
    assert call.watch.refused is None


def test_the_projects_own_litellm_callbacks_may_connect(model, monkeypatch):
    litellm, heard = litellm_import.load(), []
    from litellm.integrations.custom_logger import CustomLogger

    def connect(moment):
        socket.create_connection(("127.0.0.1", int(model.url.rpartition(":")[2]))).close()
        heard.append(moment)

    class Listener(CustomLogger):
        def log_pre_api_call(self, model, messages, kwargs):
            connect("before")

        def log_failure_event(self, kwargs, response_obj, start_time, end_time):
            connect("failed")

    for listened in ("input_callback", "failure_callback"):
        monkeypatch.setattr(litellm, listened, [Listener()])
    model.script(Reply(status=500))
    with pytest.raises(LLMAPIError):
        ask(model)
    assert heard == ["before", "failed"]


def test_the_projects_own_litellm_calls_keep_their_bridge():
    litellm = litellm_import.load()
    asked = {"model": "o3-pro", "custom_llm_provider": "openai"}
    assert litellm.main.responses_api_bridge_check(**asked)[0].get("mode") == "responses"
    with CallTrace.start(20.0, "openai").active():
        assert litellm.main.responses_api_bridge_check(**asked) == ({}, "o3-pro")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("main", "responses_api_bridge_check"),
        ("main", "completion"),
        ("constants", "PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO"),
        ("", "success_callback"),
    ],
)
def test_a_release_of_litellm_without_a_part_that_is_replaced_is_refused(monkeypatch, part, name):
    litellm = litellm_import.load()
    monkeypatch.delattr(getattr(litellm, part) if part else litellm, name)
    with pytest.raises(private_attributes.UnknownRelease, match=f"litellm .* has no .*{name}.* Install a release"):
        litellm_import.guard(litellm)


def test_a_release_of_litellm_that_no_longer_asks_what_is_replaced_is_refused(monkeypatch):
    litellm = litellm_import.load()
    monkeypatch.setattr(litellm.main, "completion", lambda model: model)
    with pytest.raises(private_attributes.UnknownRelease, match="does not call responses_api_bridge_check"):
        litellm_import.guard(litellm)


def test_audit_hooks_that_are_blocked_are_told():
    code = """
import sys
def veto(event, args):
    if event == "sys.addaudithook":
        raise RuntimeError
sys.addaudithook(veto)
from zango_ai.providers import network_guard
try:
    network_guard.install()
except RuntimeError as exc:
    print(exc)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "cannot be guarded" in said.stdout


@pytest.mark.parametrize(("kind", "attribute"), [("openai", "_custom_headers"), ("azure", "_azure_ad_token")])
def test_a_release_of_openai_without_a_part_that_is_replaced_is_refused(model, monkeypatch, kind, attribute):
    monkeypatch.setattr(clients, "_clients", {})
    replace = private_attributes.replace

    def as_if_renamed(package, owner, name, value):
        if name == attribute:
            owner.__dict__.pop(name)
        replace(package, owner, name, value)

    monkeypatch.setattr(private_attributes, "replace", as_if_renamed)
    with pytest.raises(private_attributes.UnknownRelease, match=f"openai .* has no .*{attribute}"):
        ask(model, "my-deployment", kind)
    assert model.requests == []
