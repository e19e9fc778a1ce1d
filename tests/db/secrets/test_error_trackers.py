"""What Sentry sees of a run: with the real SDK, local variables and all, and a transport that sends nothing."""

import json

import pytest

from tests.build import API_KEY, make_agent, make_provider
from tests.children import child, said
from zango_ai.models import Provider
from zango_ai.providers.kinds import KINDS
from zango_ai.testing import Reply

INIT = """
import json, logging, sentry_sdk
from sentry_sdk.transport import Transport
from zango_ai.models import Provider
events = []
class Kept(Transport):
    def capture_envelope(self, envelope):
        events.extend(item.payload.json or item.get_bytes().decode("utf-8", "replace") for item in envelope.items)
sentry_sdk.init(
    dsn="http://key@127.0.0.1:9/1", transport=Kept, traces_sample_rate=1.0, send_default_pii=True,
    max_value_length=100_000,
    before_send=lambda event, hint: event,
)
"""
END = """
sentry_sdk.flush()
print(json.dumps([len(events), json.dumps(events, default=repr)]))
"""


def events_of(code):
    with child(INIT + code + END) as process:
        count, shown = json.loads(said(process).splitlines()[-1])
    assert count
    return shown


ASK = """
for name in {names!r}:
    try:
        get_agent(name).run("hi")
    except Exception as exc:
        sentry_sdk.capture_exception(exc)
        logging.getLogger("app").exception("%s has failed", name)
"""


@pytest.mark.parametrize("reply", [Reply(f"bad key {API_KEY}", status=401), Reply(hang_up=True), Reply(raw=b"{}")])
def test_an_error_of_any_vendor_shows_no_key(model, live_north, reply):
    for kind in KINDS:
        make_agent(model, kind, provider=make_provider(model, kind=kind, name=kind))
    model.script(*[reply] * len(KINDS))
    shown = events_of(ASK.format(names=list(KINDS)))
    assert "LLMAPIError" in shown
    assert API_KEY not in shown
    assert len(model.requests) == len(KINDS)


MISCONFIGURED = {
    "no-version": {"kind": "azure", "credentials": {"api_key": API_KEY, "api_base": "https://a.example.com"}},
    "bad-address": {"credentials": {"api_key": API_KEY, "api_base": "http://169.254.169.254/v1"}},
    "bad-key": {"credentials": {"api_key": f"{API_KEY} \n2", "api_base": "https://a.example.com"}},
    "no-region": {"kind": "bedrock", "credentials": {"aws_access_key_id": "A", "aws_secret_access_key": API_KEY}},
}


def test_a_provider_that_is_configured_wrong_shows_no_key(model, live_north):
    for name, fields in MISCONFIGURED.items():
        make_agent(model, name, provider=make_provider(model, name=name, **fields))
    make_agent(model, "no-kind", provider=make_provider(model, name="no-kind"))
    Provider.objects.filter(name="no-kind").update(kind="telepathy")
    shown = events_of(ASK.format(names=[*MISCONFIGURED, "no-kind"]))
    assert shown.count("ProviderConfigInvalid") > len(MISCONFIGURED)
    assert API_KEY not in shown


def test_credentials_in_a_local_variable_or_a_log_line_show_nothing(model, live_north):
    make_provider(model)
    shown = events_of("""
provider = Provider.objects.get()
credentials = provider.credentials
spec = provider.spec()
held = [credentials, {"a": credentials}, spec]
assert credentials["api_key"]
logging.error("%s", credentials)
logging.error(credentials)
logging.error("failed", extra={"credentials": credentials, "provider": vars(provider)})
try:
    1 / 0
except ZeroDivisionError as exc:
    sentry_sdk.capture_exception(exc)
def fail():
    inner = credentials
    raise RuntimeError("in a frame")
try:
    fail()
except RuntimeError as exc:
    sentry_sdk.capture_exception(exc)
""")
    assert "in a frame" in shown
    assert API_KEY not in shown


def test_credentials_that_cannot_be_kept_show_nothing(model, live_north):
    """Where what was assigned is no JSON, or the keys in the settings are wrong."""
    make_provider(model)
    shown = events_of(f"""
from zango_ai.encryption.credentials import Credentials
def fail(make):
    try:
        make()
    except Exception as exc:
        sentry_sdk.capture_exception(exc)
    else:
        raise AssertionError
parts = {API_KEY.split("-")!r}
fail(lambda: Credentials({{"api_key": "-".join(parts), "other": object()}}))
def change():
    provider = Provider.objects.get()
    provider.credentials["other"] = {{"-".join(parts)}}
fail(change)
override_settings(ZANGO_AI={{"ENCRYPTION_KEYS": ["no key"]}}).enable()
fail(lambda: Credentials({{"api_key": "-".join(parts)}}))
""")
    assert Provider.objects.count() == 1
    assert "TypeError" in shown
    assert API_KEY not in shown
