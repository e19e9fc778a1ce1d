"""A provider in trouble: each kind of trouble has a name, a remedy and a row."""

import traceback

import pytest

from tests.build import API_KEY, make_agent, make_provider
from zango_ai import get_agent
from zango_ai.exceptions import LLMAPIError, LLMTimeoutError, ProviderConfigInvalid, RateLimitExceeded, ZangoAIError
from zango_ai.models import Invocation, Provider
from zango_ai.testing import Reply, real_provider_calls

pytestmark = pytest.mark.usefixtures("north")
KINDS = pytest.mark.parametrize("kind", ["openai", "anthropic", "openai_compatible"])


@pytest.fixture
def fail(model):
    """Run an agent whose provider answers with the reply; the error and the row."""

    def fail(reply, kind="openai", **fields):
        make_agent(model, provider=make_provider(model, kind=kind), **fields)
        if reply is not None:
            model.script(reply)
        with pytest.raises(ZangoAIError) as caught:
            get_agent("helper").run("hi")
        return caught.value, Invocation.objects.get(pk=caught.value.invocation_id)

    return fail


@KINDS
@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "refused"),
        (401, "valid key"),
        (403, "permissions"),
        (404, "model"),
        (500, "later"),
        (503, "later"),
    ],
)
def test_an_error_status_is_told_with_what_to_do(fail, kind, status, remedy):
    error, row = fail(Reply("the vendor's words", status=status), kind)
    assert type(error) is LLMAPIError
    assert error.status_code == status
    assert isinstance(error.original_error, Exception)
    assert remedy in str(error)
    assert "main" in str(error)
    assert (row.status, row.error_type, row.rounds_count) == ("failed", "LLMAPIError", 1)
    assert str(error) == row.error_message
    assert "the vendor's words" in row.rounds.get().error_message


@KINDS
def test_a_429_says_when_to_come_back(fail, kind):
    error, row = fail(Reply("slow down", status=429, headers={"Retry-After": "7"}), kind)
    assert isinstance(error, RateLimitExceeded)
    assert error.retry_after_seconds == 7.0
    assert row.status == row.rounds.get().status == "rate_limited"


@KINDS
def test_an_answer_too_late_is_a_timeout(fail, kind):
    error, row = fail(Reply(delay_s=20), kind, timeout_seconds=1)
    assert isinstance(error, LLMTimeoutError)
    assert "timeout_seconds" in str(error)
    assert row.status == "timeout"
    assert row.rounds.get().latency_ms < 10_000


@KINDS
@pytest.mark.parametrize("reply", [Reply(hang_up=True), Reply(raw=b"<html>gateway</html>"), Reply(raw=b"")])
def test_an_answer_that_is_none_is_an_api_error(fail, kind, reply):
    error, row = fail(reply, kind)
    assert isinstance(error, LLMAPIError)
    assert row.status == "failed"


@KINDS
def test_a_provider_that_is_down_is_named_with_what_to_check(model, kind, settings):
    settings.ZANGO_AI = {"ALLOWED_API_BASES": ["http://127.0.0.1:9"]}
    dead = {"api_key": API_KEY, "api_base": "http://127.0.0.1:9/v1"}
    make_agent(model, provider=make_provider(model, kind=kind, credentials=dead))
    refused = r"could not be reached: the server refused the connection \(127\.0\.0\.1, port 9\)\. Check"
    with pytest.raises(LLMAPIError, match=refused) as caught:
        get_agent("helper").run("hi")
    assert caught.value.status_code is None
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"


@KINDS
@pytest.mark.parametrize("key", ["", "   ", None])
def test_without_a_key_nothing_is_sent_and_the_hosts_key_least_of_all(model, kind, key, monkeypatch):
    if kind == "openai_compatible":
        pytest.skip("such a server may need no key")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-host")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-host")
    base = model.anthropic_base if kind == "anthropic" else model.openai_base
    credentials = {"api_base": base} if key is None else {"api_base": base, "api_key": key}
    make_agent(model, provider=make_provider(model, kind=kind, credentials=credentials))
    with pytest.raises(ProviderConfigInvalid, match="API key") as caught:
        get_agent("helper").run("hi")
    assert (caught.value.provider_name, caught.value.field) == ("main", "api_key")
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"
    assert model.requests == []


def test_a_kind_that_is_not_known_says_which_are(model):
    make_agent(model)
    Provider.objects.update(kind="telepathy")
    with pytest.raises(ProviderConfigInvalid, match="openai_compatible") as caught:
        get_agent("helper").run("hi")
    assert caught.value.field == "kind"


@KINDS
def test_a_gateway_that_echoes_the_key_does_not_get_it_into_an_error(fail, kind):
    error, row = fail(Reply(f"bad key {API_KEY}", status=401, headers={"X-Echo": API_KEY}), kind)
    original = error.original_error
    shown = [str(error), repr(error), "".join(traceback.format_exception(error))]
    shown += [str(original), repr(original), str(vars(original)), str(original.args)]
    shown += [str(row.__dict__), str(row.rounds.values())]
    assert not [text for text in shown if API_KEY in text]
    assert "bad key" in str(original)


def test_no_frame_of_the_error_holds_the_key(fail):
    error, _ = fail(Reply("no", status=401))
    seen: BaseException | None = error
    while seen is not None:
        for frame, _line in traceback.walk_tb(seen.__traceback__):
            if "zango_ai/" in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename:
                assert API_KEY not in str(frame.f_locals)
        seen = seen.__cause__ or seen.__context__


def test_the_next_run_after_an_error_is_none_the_worse(model, fail):
    fail(Reply(status=500))
    assert get_agent("helper").run("again").content


def test_a_host_name_that_is_not_known_is_told(model):
    credentials = {"api_key": API_KEY, "api_base": "https://llm.invalid/v1"}
    make_agent(model, provider=make_provider(model, credentials=credentials))
    unknown = r"could not be reached: no address is known for the host name llm\.invalid \(port 443\)"
    with real_provider_calls(), pytest.raises(LLMAPIError, match=unknown) as caught:
        get_agent("helper").run("hi")
    assert API_KEY not in str(caught.value)


@pytest.mark.parametrize(("path", "is_told"), [("", True), ("/v1", False)])
def test_a_404_of_a_self_hosted_server_recalls_the_usual_path(model, path, is_told):
    credentials = {"api_base": model.url + path}
    make_agent(model, provider=make_provider(model, kind="openai_compatible", credentials=credentials))
    model.script(Reply("no such model", status=404))
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run("hi")
    assert caught.value.status_code == 404
    assert ("usually ends in /v1" in str(caught.value)) is is_told


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765"])
def test_a_refused_local_address_comes_with_the_setting_that_allows_it(model, host, settings):
    settings.ZANGO_AI = {"ALLOWED_API_BASES": ["http://llm.internal"]}
    make_agent(model, provider=make_provider(model, credentials={"api_key": "x", "api_base": f"http://{host}/v1"}))
    with pytest.raises(ProviderConfigInvalid) as caught:
        get_agent("helper").run("hi")
    entry = f"ZANGO_AI = {{'ALLOWED_API_BASES': ['http://llm.internal', 'http://{host}']}}"
    assert str(caught.value).endswith(entry)


def test_a_missing_credential_is_named_by_its_key(model):
    make_agent(model, provider=make_provider(model, kind="openai_compatible", credentials={}))
    with pytest.raises(ProviderConfigInvalid, match=r"has no API base URL \(api_base\)\."):
        get_agent("helper").run("hi")
