import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from zango_ai import checks, conf

GOOD = Fernet.generate_key().decode()


def test_every_setting_is_optional(settings):
    del settings.ZANGO_AI
    assert conf.get_conf() == conf.Conf()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"ENCRYPTON_KEYS": []}, "not a setting"),
        ({"ENCRYPTION_KEYS": "one"}, "list"),
        ({"ENCRYPTION_KEYS": [GOOD, "short"]}, "key number 2"),
        ({"ALLOWED_API_BASES": ["localhost:11434"]}, "localhost:11434"),
        ({"ALLOWED_API_BASES": [1]}, "string"),
        ({"APPROVAL_EMAILS": "ward@example.com"}, "must be a list of addresses, such as ['ward@example.com']"),
        ({"APPROVAL_EMAILS": ["ward"]}, "'ward' is not an e-mail address"),
        ({"APPROVAL_EMAILS": "clinic.nobody.knows"}, "cannot be imported"),
        ({"SITE_URL": "//clinic.example.com"}, "is not an HTTP URL"),
        ({"SITE_URL": 7}, "must be a callable"),
        (["x"], "dict"),
    ],
)
def test_what_is_wrong_is_an_error_of_the_system_check(settings, value, problem):
    settings.ZANGO_AI = value
    (found,) = checks.check_settings()
    assert found.id == "zango_ai.E001"
    assert problem in found.msg
    with pytest.raises(ImproperlyConfigured, match="ZANGO_AI"):
        conf.get_conf()


def test_addresses_and_links_may_be_fixed_or_come_from_a_callable(settings):
    settings.ZANGO_AI = {"APPROVAL_EMAILS": ["ward@example.com"], "SITE_URL": "https://{schema}.example.com"}
    assert conf.get_conf().approval_emails == ("ward@example.com",)
    assert conf.get_conf().site_url == "https://{schema}.example.com"
    settings.ZANGO_AI = {"APPROVAL_EMAILS": "builtins.list", "SITE_URL": "builtins.str"}
    assert (conf.get_conf().approval_emails, conf.get_conf().site_url) == (list, str)
    settings.ZANGO_AI = {"APPROVAL_EMAILS": [], "SITE_URL": ""}
    assert (conf.get_conf().approval_emails, conf.get_conf().site_url) == ((), "")


def test_the_app_belongs_among_the_tenants_apps(settings):
    assert checks.check_tenant_apps() == []
    settings.TENANT_APPS = ["django.contrib.auth"]
    settings.SHARED_APPS = ["zango_ai"]
    assert [found.id for found in checks.check_tenant_apps()] == ["zango_ai.E002", "zango_ai.W002"]


def test_a_deployment_without_keys_of_its_own_is_warned(settings):
    settings.ZANGO_AI = {}
    assert [found.id for found in checks.check_encryption_keys()] == ["zango_ai.W001"]
    settings.ZANGO_AI = {"ENCRYPTION_KEYS": [GOOD]}
    assert checks.check_encryption_keys() == []


def test_the_example_passes_its_system_checks():
    call_command("check", fail_level="WARNING")
