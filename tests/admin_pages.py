"""Addresses and forms of the admin, for tests that post them."""

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse


def url(name, *args):
    return reverse(f"admin:zango_ai_{name}", args=args)


def fields(page):
    form = page.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    prefixes = {}
    for formset in page.context["inline_admin_formsets"]:
        for key in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS"):
            prefixes[f"{formset.formset.prefix}-{key}"] = "0"
    return {key: value for key, value in values.items() if value is not None and value is not False} | prefixes


def count_queries(client, address):
    """How many queries a page takes, without those that only choose the tenant's schema."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return sum(not query["sql"].startswith(("SET search_path", "SAVEPOINT", "RELEASE")) for query in queries)
