"""Testing a connection, fetching the list of models, rotating the keys."""

from decimal import Decimal
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from tests.build import API_KEY, make_agent, make_provider
from tests.schemas import schema_context
from zango_ai import get_agent
from zango_ai.encryption.keys import derive_key
from zango_ai.exceptions import LLMAPIError, ProviderConfigInvalid
from zango_ai.models import Provider, ProviderModel
from zango_ai.providers.kinds import KINDS
from zango_ai.testing import Reply


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_is_tested_by_the_smallest_real_call(model, north, kind):
    provider = make_provider(model, kind=kind)
    assert provider.validate_connection()
    provider.refresh_from_db()
    assert provider.validated_at is not None
    assert provider.validation_error == ""
    assert len(model.requests) == 1
    model.script(Reply("no", status=401))
    assert not provider.validate_connection()
    provider.refresh_from_db()
    assert "valid key" in provider.validation_error
    assert API_KEY not in provider.validation_error


def test_a_connection_without_a_key_is_not_tried(model, north):
    provider = make_provider(model, credentials={"api_base": model.openai_base})
    assert not provider.validate_connection()
    assert "API key" in provider.validation_error
    assert model.requests == []


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.models_path])
def test_the_vendors_models_are_listed(model, north, kind):
    provider = make_provider(model, kind=kind)
    new = provider.fetch_models()
    assert [row.model_id for row in new] == ["stand-in-large", "stand-in-small"]
    assert all(row.is_enabled for row in new)
    assert API_KEY in str(model.requests[0].headers)


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.models_path])
def test_a_vendor_without_a_list_says_so(model, north, kind):
    with pytest.raises(ProviderConfigInvalid, match="by hand"):
        make_provider(model, kind=kind).fetch_models()


def test_fetching_again_keeps_prices_and_what_was_disabled(model, north):
    provider = make_provider(model)
    ProviderModel.objects.create(
        provider=provider, model_id="stand-in-large", input_cost_per_mtok=Decimal(3), is_enabled=False
    )
    ProviderModel.objects.create(provider=provider, model_id="of-my-own")
    (new,) = provider.fetch_models()
    assert (new.model_id, new.is_enabled) == ("stand-in-small", False)
    assert provider.fetch_models() == []
    kept = provider.models.get(model_id="stand-in-large")
    assert (kept.input_cost_per_mtok, kept.is_enabled) == (Decimal(3), False)
    assert provider.models.count() == 3


def test_what_agents_run_on_stays_allowed_when_the_list_does_not_name_it(model, north):
    provider = make_provider(model, default_model="alias-of-the-vendor")
    make_agent(model, provider=provider)
    provider.fetch_models()
    assert get_agent("helper").run("hi").content


def test_fetching_stops_nothing_that_worked(model, north):
    """Neither the default model, which no agent names, nor a model that only code names."""
    provider = make_provider(model, default_model="alias")
    make_agent(model, provider=provider, model="of-the-agent")
    agent = get_agent("helper")
    agent.run("hi", model="named-in-code")
    provider.fetch_models()
    for name in ("alias", "of-the-agent", "named-in-code", "stand-in-small"):
        assert agent.run("hi", model=name).content
    assert dict(provider.models.values_list("model_id", "is_listed")) == {
        **dict.fromkeys(["alias", "of-the-agent", "named-in-code"], False),
        **dict.fromkeys(["stand-in-large", "stand-in-small"], True),
    }


def test_fetching_does_not_widen_a_list_that_was_chosen(model, north):
    provider = make_provider(model, default_model="chosen")
    make_agent(model, provider=provider)
    agent = get_agent("helper")
    agent.run("hi", model="of-the-past")
    provider.models.create(model_id="chosen")
    provider.models.create(model_id="switched-off", is_enabled=False)
    provider.fetch_models()
    assert not provider.models.filter(model_id="of-the-past").exists()
    assert [row.model_id for row in provider.models.filter(is_enabled=True)] == ["chosen"]


def test_a_connection_without_a_model_asks_for_one(model, north):
    provider = make_provider(model, default_model="")
    assert not provider.validate_connection()
    assert "default model" in provider.validation_error
    assert model.requests == []


def test_names_that_no_row_can_hold_are_not_listed(model, north):
    names = ["good", "x" * 300, "nul\\u0000", "", API_KEY]
    listed = ", ".join('{"id": "' + name + '"}' for name in names)
    model.script(Reply(raw=('{"data": [' + listed + ', {"id": {"a": 1}}]}').encode()))
    assert [row.model_id for row in make_provider(model).fetch_models()] == ["good"]


def test_a_list_in_several_pages_is_read_to_its_end(model, north):
    first = b'{"data": [{"id": "a"}], "has_more": true, "last_id": "a"}'
    model.script(Reply(raw=first), Reply(raw=b'{"data": [{"id": "b"}], "has_more": false}'))
    provider = make_provider(model, kind="anthropic")
    assert [row.model_id for row in provider.fetch_models()] == ["a", "b"]


@pytest.mark.parametrize("reply", [Reply(status=401), Reply(raw=b"<html>")])
def test_a_list_that_cannot_be_had_is_an_error(model, north, reply):
    model.script(reply)
    with pytest.raises(LLMAPIError):
        make_provider(model).fetch_models()


def rotate(*arguments):
    out, err = StringIO(), StringIO()
    call_command("zango_ai_rotate_keys", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_rotating_encrypts_every_tenants_credentials_under_the_first_key(model, tenants, settings):
    for schema in tenants:
        with schema_context(schema):
            make_provider(model)
    new = Fernet.generate_key().decode()
    settings.ZANGO_AI = {"ENCRYPTION_KEYS": [new, derive_key(settings.SECRET_KEY)]}
    assert rotate("--dry-run")[0] == "north: 1 to rotate\nsouth: 1 to rotate\n"
    assert rotate("--schema", "north")[0] == "north: 1 rotated\n"
    assert rotate()[0] == "north: 0 rotated\nsouth: 1 rotated\n"
    settings.ZANGO_AI = {"ENCRYPTION_KEYS": [new]}
    for schema in tenants:
        with schema_context(schema):
            assert Provider.objects.get().credentials["api_key"] == API_KEY


def test_a_row_that_no_key_opens_is_named_and_stops_no_other(model, tenants, settings):
    with schema_context("north"):
        make_provider(model)
    new = Fernet.generate_key().decode()
    settings.ZANGO_AI = {"ENCRYPTION_KEYS": [new]}
    with schema_context("south"):
        make_provider(model)
    err = StringIO()
    with pytest.raises(CommandError, match="north"):
        call_command("zango_ai_rotate_keys", stdout=StringIO(), stderr=err)
    assert "'main'" in err.getvalue()
    with pytest.raises(CommandError, match="No tenant"):
        rotate("--schema", "nowhere")


def test_credentials_saved_while_rotating_are_not_lost(model, north, settings, monkeypatch):
    from zango_ai.management.commands import zango_ai_rotate_keys

    make_provider(model)
    settings.ZANGO_AI = {"ENCRYPTION_KEYS": [Fernet.generate_key().decode(), derive_key(settings.SECRET_KEY)]}
    really = zango_ai_rotate_keys.rotated

    saved = []

    def somebody_saves_meanwhile(token):
        if not saved:
            saved.append(Provider.objects.update(credentials={"api_key": "sk-newer"}))
        return really(token)

    monkeypatch.setattr(zango_ai_rotate_keys, "rotated", somebody_saves_meanwhile)
    rotate("--schema", "north")
    assert Provider.objects.get().credentials["api_key"] == "sk-newer"


def test_a_process_that_still_has_the_old_keys_does_not_bring_them_back(model, north, settings):
    make_provider(model)
    stale = Provider.objects.get()
    new = Fernet.generate_key().decode()
    settings.ZANGO_AI = {"ENCRYPTION_KEYS": [new, derive_key(settings.SECRET_KEY)]}
    rotate("--schema", "north")
    stale.description = "saved after the rotation"
    stale.save()
    settings.ZANGO_AI = {"ENCRYPTION_KEYS": [new]}
    assert Provider.objects.get().credentials["api_key"] == API_KEY
