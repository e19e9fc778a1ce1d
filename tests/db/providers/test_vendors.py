"""Every kind of provider on the wire, against the local model server."""

import pytest

from tests.build import API_KEY, make_agent, make_prompt, make_provider
from zango_ai import get_agent
from zango_ai.exceptions import (
    ContentPolicyViolation,
    ContextWindowExceeded,
    LLMAPIError,
    LLMTimeoutError,
    ProviderConfigInvalid,
    RateLimitExceeded,
)
from zango_ai.models import Invocation, InvocationRound, ProviderModel
from zango_ai.providers import http_exchange
from zango_ai.providers.kinds import KINDS
from zango_ai.testing import Reply, real_provider_calls

pytestmark = pytest.mark.usefixtures("north")
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)

PATHS = {
    "azure": "/openai/deployments/my-deployment/chat/completions",
    "anthropic": "/v1/messages",
    "bedrock": "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse",
    "gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
}
KEY_HEADERS = {
    "anthropic": ("x-api-key", API_KEY),
    "azure": ("api-key", API_KEY),
    "gemini": ("x-goog-api-key", API_KEY),
}


@EVERY_KIND
def test_a_question_is_answered_and_counted(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind), system_prompt=make_prompt("Be brief.", "system"))
    model.script(Reply("Good day.", input_tokens=1000, output_tokens=200))
    response = get_agent("helper").run("Hello there")
    assert response.content == "Good day."
    assert (response.usage.input_tokens, response.usage.output_tokens) == (1000, 200)
    assert response.stop_reason == "end_turn"
    seen = model.requests[0]
    assert seen.path == PATHS.get(kind, "/v1/chat/completions")
    assert "Hello there" in str(seen.body)
    assert "Be brief." in str(seen.body)
    if kind == "bedrock":
        assert seen.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIA-OF-THIS-TENANT/")
    else:
        name, value = KEY_HEADERS.get(kind, ("authorization", f"Bearer {API_KEY}"))
        assert seen.headers[name] == value
    row = Invocation.objects.get()
    assert row.status == "success"
    unpriced = kind in {"ollama", "openai_compatible"}
    assert (row.cost_usd is None) == unpriced
    assert response.is_cost_known != unpriced


@EVERY_KIND
def test_a_provider_without_its_credentials_sends_nothing_of_the_hosts(model, kind, monkeypatch):
    for name in HOST_VARIABLES:
        monkeypatch.setenv(name, "of-the-host")
    provider = make_provider(model, kind=kind)
    provider.credentials = {"api_base": provider.credentials["api_base"]}
    provider.save()
    make_agent(model, provider=provider)
    needs_no_key = kind in {"ollama", "openai_compatible"}
    if needs_no_key:
        get_agent("helper").run("hi")
        assert "of-the-host" not in str(model.requests[0])
    else:
        with pytest.raises(ProviderConfigInvalid) as caught:
            get_agent("helper").run("hi")
        assert caught.value.field in {"api_key", "aws_access_key_id"}
        assert model.requests == []


HOST_VARIABLES = [
    *(f"{vendor}_API_KEY" for vendor in ("OPENAI", "ANTHROPIC", "AZURE", "AZURE_OPENAI", "GEMINI", "GOOGLE")),
    *(f"{vendor}_API_KEY" for vendor in ("MISTRAL", "GROQ", "OLLAMA", "OPENAI_LIKE")),
    *("OPENAI_ORGANIZATION", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_AUTH_TOKEN", "AZURE_AD_TOKEN"),
    *("AZURE_OPENAI_AD_TOKEN", "AZURE_USERNAME", "AZURE_CLIENT_SECRET"),
    "OPENAI_ADMIN_KEY",
    *("AWS_ROLE_NAME", "AWS_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN", "AWS_EXTERNAL_ID", "AWS_PROFILE_NAME"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"),
]
HOST_ADDRESSES = [
    *(f"{vendor}_API_BASE" for vendor in ("OPENAI", "ANTHROPIC", "AZURE", "GEMINI", "MISTRAL", "GROQ", "OLLAMA")),
    *("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "AWS_BEDROCK_RUNTIME_ENDPOINT", "AZURE_OPENAI_ENDPOINT"),
    "AWS_STS_ENDPOINT",
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"),
]


@EVERY_KIND
def test_the_hosts_environment_changes_nothing_for_a_tenant_with_a_key(model, kind, monkeypatch, tmp_path):
    for name in HOST_VARIABLES:
        monkeypatch.setenv(name, "of-the-host")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer of-the-host\nX-Internal: of-the-host")
    for name in HOST_ADDRESSES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    profile = tmp_path / "credentials"
    profile.write_text("[of-the-host]\naws_access_key_id = of-the-host\naws_secret_access_key = of-the-host\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    make_agent(model, provider=make_provider(model, kind=kind))
    get_agent("helper").run("hi")
    assert len(model.requests) == 1
    assert "of-the-host" not in str(model.requests[0])


@EVERY_KIND
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422, 500, 502, 503, 504, 529])
def test_a_status_is_reported_as_it_came(model, kind, status):
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(Reply("words of the vendor", status=status))
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run("hi")
    assert caught.value.status_code == status
    assert caught.value.is_retryable == (status >= 500)
    assert "words of the vendor" in InvocationRound.objects.get().error_message


@EVERY_KIND
@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (Reply("slow", status=429, headers={"Retry-After": "7"}), 7.0),
        (Reply("slow", status=429, headers={"retry-after-ms": "1500"}), 1.5),
        (Reply("Please try again in 20ms.", status=429), 0.02),
        (Reply("You exceeded your current quota. Please retry in 34.07s.", status=429), 34.07),
        (Reply("Please try again in 7m12.5s.", status=429), 432.5),
        (Reply("try again in ...s", status=429, headers={"Retry-After": "Mon, 01 Jan 99999999999 0:0:0"}), None),
        (Reply("slow", status=429), None),
    ],
)
def test_a_429_says_how_long_to_wait_where_the_vendor_does(model, kind, reply, seconds):
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(reply)
    with pytest.raises(RateLimitExceeded) as caught:
        get_agent("helper").run("hi")
    assert caught.value.retry_after_seconds == seconds
    assert Invocation.objects.get().status == "rate_limited"


@EVERY_KIND
def test_an_answer_that_comes_a_byte_at_a_time_is_over_with_the_timeout(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind), timeout_seconds=1)
    model.script(Reply("x" * 500, trickle_s=0.05))
    with pytest.raises(LLMTimeoutError) as caught:
        get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert row.status == "timeout"
    # Read by read it would take half a minute.
    assert row.rounds.get().latency_ms < 10_000


@pytest.mark.parametrize("kind", ["openai", "anthropic", "azure", "gemini", "mistral"])
def test_too_much_text_can_be_told_from_other_errors(model, kind):
    words = {
        "openai": "This model's maximum context length is 8192 tokens.",
        "azure": "This model's maximum context length is 8192 tokens.",
        "mistral": "This model's maximum context length is 8192 tokens.",
        "anthropic": "prompt is too long: 210000 tokens > 200000 maximum",
        "gemini": "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
    }[kind]
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(Reply(words, status=400))
    with pytest.raises(ContextWindowExceeded, match="larger context") as caught:
        get_agent("helper").run("hi")
    assert caught.value.status_code == 400


@EVERY_KIND
def test_a_refusal_by_policy_can_be_told_from_other_errors(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(Reply("The response was filtered: content management policy", status=400))
    with pytest.raises(ContentPolicyViolation):
        get_agent("helper").run("hi")


def test_an_account_without_credit_is_not_asked_again(model):
    make_agent(model, provider=make_provider(model, max_retries=2))
    model.script(Reply("You exceeded your current quota, please check your plan.", status=429))
    with pytest.raises(RateLimitExceeded, match="credit"):
        get_agent("helper").run("hi")
    assert len(model.requests) == 1


@EVERY_KIND
def test_a_redirect_is_not_followed_and_the_key_stays_here(model, kind, settings):
    from zango_ai.testing import ModelServer

    with ModelServer() as elsewhere:
        settings.ZANGO_AI = {"ALLOWED_API_BASES": [model.url, elsewhere.url]}
        make_agent(model, provider=make_provider(model, kind=kind))
        path = PATHS.get(kind, "/v1/chat/completions")
        model.script(Reply("moved", status=307, headers={"Location": elsewhere.url + path}))
        with pytest.raises(LLMAPIError, match="final address") as caught:
            get_agent("helper").run("hi")
        assert caught.value.status_code == 307
        assert elsewhere.requests == []


@EVERY_KIND
def test_an_address_inside_the_network_that_is_not_listed_is_not_called(model, kind, settings):
    settings.ZANGO_AI = {}
    make_agent(model, provider=make_provider(model, kind=kind))
    with pytest.raises(ProviderConfigInvalid, match="ALLOWED_API_BASES") as caught:
        get_agent("helper").run("hi")
    assert caught.value.field == "api_base"
    assert model.connections == 0 or model.requests == []


@EVERY_KIND
def test_a_name_that_leads_inside_is_refused_when_the_connection_is_made(model, kind, monkeypatch):
    """There is no DNS here: the answer that a hostile one would give is put in its place."""
    from zango_ai.providers import addresses

    provider = make_provider(model, kind=kind)
    provider.credentials["api_base"] = provider.credentials["api_base"].replace("127.0.0.1", "rebound.example")
    provider.save()
    make_agent(model, provider=provider)
    monkeypatch.setattr(addresses, "resolve", lambda host, port: ["93.184.216.34", "127.0.0.1"])
    with real_provider_calls(), pytest.raises(ProviderConfigInvalid, match="rebound") as caught:
        get_agent("helper").run("hi")
    assert caught.value.field == "api_base"
    assert Invocation.objects.get().status == "failed"
    assert model.requests == []


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_gateway_that_answers_with_the_key_does_not_get_it_into_the_log(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(f"Your key is {API_KEY}.")
    response = get_agent("helper").run("hi")
    assert response.content == "Your key is [credential]."
    assert API_KEY not in str(Invocation.objects.values()) + str(InvocationRound.objects.values())


@EVERY_KIND
def test_many_runs_open_one_connection(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind))
    agent = get_agent("helper")
    before = model.connections
    for _ in range(30 if kind in {"openai", "anthropic"} else 5):
        agent.run("hi")
    assert model.connections - before == 1


def test_other_credentials_get_another_connection(model):
    provider = make_provider(model)
    make_agent(model, provider=provider)
    before = model.connections
    get_agent("helper").run("hi")
    provider.credentials["api_key"] = "sk-new"
    provider.save()
    get_agent("helper").run("hi")
    assert model.connections - before == 2
    assert [r.headers["authorization"] for r in model.requests] == [f"Bearer {API_KEY}", "Bearer sk-new"]


def test_clients_that_nobody_uses_are_closed_after_a_while(model, monkeypatch):
    from zango_ai.providers import clients

    monkeypatch.setattr(clients, "_clients", {})
    monkeypatch.setattr(clients, "IDLE_S", -1.0)
    provider = make_provider(model)
    make_agent(model, provider=provider)
    for number in range(3):
        provider.credentials["api_key"] = f"sk-{number}"
        provider.save()
        get_agent("helper").run("hi")
    (kept,) = clients._clients.values()
    kept.http.close()


def test_a_reasoning_model_is_asked_without_what_it_does_not_take(model):
    make_agent(model, model="gpt-5", temperature=0.7, max_tokens=50)
    get_agent("helper").run("hi")
    body = model.requests[0].body
    assert "temperature" not in body
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 50
    assert InvocationRound.objects.get().request_params == {"model": "gpt-5", "max_completion_tokens": 50}


def test_a_model_without_a_price_is_refused_under_a_budget_unless_allowed(model):
    from zango_ai.exceptions import PriceUnknown

    provider = make_provider(model, monthly_budget_usd=5, default_model="gpt-of-tomorrow")
    make_agent(model, provider=provider)
    with pytest.raises(PriceUnknown) as caught:
        get_agent("helper").run("hi")
    assert (caught.value.model, caught.value.provider_name) == ("gpt-of-tomorrow", "main")
    assert Invocation.objects.get(pk=caught.value.invocation_id).error_type == "PriceUnknown"
    assert model.requests == []
    provider.allow_unpriced = True
    provider.save()
    assert not get_agent("helper").run("hi").is_cost_known
    provider.allow_unpriced = False
    provider.save()
    ProviderModel.objects.create(
        provider=provider, model_id="gpt-of-tomorrow", input_cost_per_mtok=1, output_cost_per_mtok=1
    )
    assert get_agent("helper").run("hi").is_cost_known


@EVERY_KIND
def test_an_answer_that_breaks_off_is_tried_again(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind, max_retries=1))
    model.script(Reply(raw=b"{", headers={"Content-Length": "500"}, hang_up_after=True), "Whole.")
    assert get_agent("helper").run("hi").content == "Whole."
    first, _second = InvocationRound.objects.order_by("number")
    assert (
        "could not be reached, or the connection broke off" in first.error_message
        or first.error_type == "LLMAPIError"
    )


@EVERY_KIND
def test_a_503_is_tried_again_after_the_time_that_the_vendor_asks_for(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind, max_retries=1))
    model.script(Reply(status=503, headers={"Retry-After": "1"}), "Back.")
    response = get_agent("helper").run("hi")
    assert response.content == "Back."
    assert response.latency_ms >= 1000


@EVERY_KIND
def test_what_was_sent_is_on_the_round_also_where_it_was_refused(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind), max_tokens=77)
    model.script(Reply("wrong parameter", status=400))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    assert "77" in str(InvocationRound.objects.get().request_params)


@EVERY_KIND
def test_what_the_caller_is_handling_is_not_taken_for_the_calls_error(model, kind):
    class OfTheCaller(Exception):
        pass

    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(Reply(status=401))
    try:
        raise OfTheCaller
    except OfTheCaller:
        with pytest.raises(LLMAPIError) as caught:
            get_agent("helper").run("hi")
    assert caught.value.status_code == 401


@EVERY_KIND
def test_no_log_line_shows_key_or_prompt(model, kind, caplog):
    caplog.set_level("DEBUG")
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(Reply(f"no {API_KEY}", status=401, headers={"X-Echo": API_KEY}), "fine")
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("a very private question")
    get_agent("helper").run("a very private question")
    said = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("django.db"))
    assert API_KEY not in said
    assert "very private" not in said


@EVERY_KIND
@pytest.mark.parametrize("form", ["plain", "json", "url"])
def test_a_key_that_is_sent_back_in_other_letters_is_masked(model, kind, form):
    from urllib.parse import quote

    key = "sk-of/this+tenant="
    provider = make_provider(model, kind=kind)
    slot = "aws_secret_access_key" if kind == "bedrock" else "api_key"
    provider.credentials[slot] = key
    provider.save()
    make_agent(model, provider=provider)
    spelled = {"plain": key, "json": key.replace("-", "\\u002d"), "url": quote(key, safe="")}[form]
    model.script(Reply(f"bad key {spelled}", status=401))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    assert spelled not in InvocationRound.objects.get().error_message


def test_an_answer_without_end_is_not_kept_in_memory(model, monkeypatch):
    monkeypatch.setattr(http_exchange, "MAX_ANSWER_BYTES", 100_000)
    make_agent(model)
    model.script("x" * 200_000)
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")


def test_a_large_prompt_that_is_taken_slowly_is_over_with_the_timeout(model):
    """The server does not read at all: the buffers on the way take a few hundred kilobytes of it."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        from django.test.utils import override_settings

        with override_settings(ZANGO_AI={"ALLOWED_API_BASES": [url]}):
            credentials = {"api_key": API_KEY, "api_base": url}
            make_agent(model, provider=make_provider(model, credentials=credentials), timeout_seconds=1)
            with pytest.raises(LLMTimeoutError):
                get_agent("helper").run("x" * 12_000_000)
    assert InvocationRound.objects.get().latency_ms < 10_000


def test_no_cookie_is_kept(model):
    make_agent(model)
    model.script(Reply(headers={"Set-Cookie": "tracker=1"}))
    get_agent("helper").run("hi")
    get_agent("helper").run("hi")
    assert "cookie" not in model.requests[1].headers


def test_a_timed_out_round_may_have_been_billed_and_is_not_free(model):
    make_agent(model, timeout_seconds=1)
    model.script(Reply(delay_s=3))
    with pytest.raises(LLMTimeoutError):
        get_agent("helper").run("hi")
    assert InvocationRound.objects.get().cost_usd is None
    assert Invocation.objects.get().cost_usd is None
