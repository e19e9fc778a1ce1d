"""Credentials: encrypted in the database, readable for the program, shown to nobody."""

import copy
import json
import pickle
from collections.abc import Iterable, Mapping

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import connection

from tests.build import API_KEY, make_agent, make_provider
from zango_ai import get_agent
from zango_ai.encryption.cipher import Undecryptable
from zango_ai.encryption.credentials import Credentials
from zango_ai.encryption.keys import derive_key
from zango_ai.exceptions import ProviderConfigInvalid
from zango_ai.models import Invocation, Provider

pytestmark = pytest.mark.usefixtures("north")


def stored():
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials FROM zango_ai_provider")
        return cursor.fetchone()[0]


def test_the_database_holds_no_plain_text(model):
    make_provider(model)
    assert API_KEY not in stored()
    assert "api_key" not in stored()
    assert Provider.objects.get().credentials["api_key"] == API_KEY


def test_they_work_like_a_dict(model):
    provider = make_provider(model)
    provider.credentials["organization"] = "org-1"
    del provider.credentials["api_base"]
    provider.save()
    assert Provider.objects.get().credentials == {"api_key": API_KEY, "organization": "org-1"}
    provider.credentials = {"api_key": "other"}
    provider.save()
    assert Provider.objects.get().credentials.reveal() == {"api_key": "other"}
    Provider.objects.update(credentials={"api_key": "third"})
    assert Provider.objects.get().credentials["api_key"] == "third"


def test_nothing_that_shows_or_stores_them_has_the_key(model):
    provider = make_provider(model)
    loaded = Provider.objects.get()
    for held in (loaded.credentials, Credentials({"api_key": API_KEY})):
        for shown in (repr(held), str(held), f"{held}", repr(copy.deepcopy(held)), str(vars(provider))):
            assert API_KEY not in shown
        assert API_KEY.encode() not in pickle.dumps(held)
        assert API_KEY not in repr([getattr(held, name) for name in dir(held) if not callable(getattr(held, name))])
        assert not isinstance(held, (Mapping, Iterable))
        for walk in (dict, list, iter, vars, len, sorted, json.dumps):
            with pytest.raises(TypeError):
                walk(held)
        assert pickle.loads(pickle.dumps(held)) == held
    assert API_KEY not in serializers.serialize("json", [loaded])


def test_a_fixture_carries_the_encrypted_form_and_loads_again(model):
    provider = make_provider(model)
    text = serializers.serialize("json", [provider])
    provider.delete()
    for row in serializers.deserialize("json", text):
        row.save()
    assert Provider.objects.get().credentials["api_key"] == API_KEY


def test_they_cannot_be_searched(model):
    with pytest.raises(FieldError, match="searched"):
        Provider.objects.filter(credentials={"api_key": API_KEY}).exists()


def test_keys_rotate_the_first_encrypts_and_all_decrypt(model, settings):
    make_provider(model)
    new = Fernet.generate_key().decode()
    settings.ZANGO_AI |= {"ENCRYPTION_KEYS": [new, derive_key(settings.SECRET_KEY)]}
    provider = Provider.objects.get()
    provider.credentials = provider.credentials.reveal()
    provider.save()
    settings.ZANGO_AI |= {"ENCRYPTION_KEYS": [new]}
    assert Provider.objects.get().credentials["api_key"] == API_KEY


def test_a_new_secret_key_opens_what_the_old_one_closed_while_it_is_a_fallback(model, settings):
    make_provider(model)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new"
    assert Provider.objects.get().credentials["api_key"] == API_KEY


def test_a_row_that_no_key_opens_names_the_provider_and_the_remedy(model, settings):
    make_agent(model)
    settings.ZANGO_AI |= {"ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}
    provider = Provider.objects.get()  # reading the row is no error
    with pytest.raises(Undecryptable):
        provider.credentials["api_key"]
    before = stored()
    provider.description = "changed"
    provider.save()
    assert stored() == before  # what cannot be read is not lost
    with pytest.raises(ProviderConfigInvalid, match="ENCRYPTION_KEYS") as caught:
        get_agent("helper").run("hi")
    assert (caught.value.provider_name, caught.value.field) == ("main", "credentials")
    assert "cryptography" not in str(caught.value)
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"
    assert model.requests == []
