"""The panel on other admin sites and in other themes."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.urls import path

from tests import panel_data
from tests.schemas import add_domains, all_tenants, needs_tenants
from zango_ai.admin.agent import AgentConfigAdmin
from zango_ai.models import AgentConfig

clinic_site = AdminSite(name="clinic")
clinic_site.register(AgentConfig, type(admin.site.get_model_admin(AgentConfig)))
urlpatterns = [path("staff/", clinic_site.urls)]

FETCH = """
import sys
import django
django.setup()
from django.contrib.auth.models import User
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
with schema_context("north"):
    client = Client(headers={"host": "north.localhost"})
    client.force_login(User.objects.get(username="root"))
for path in sys.argv[1:]:
    page = client.get("/admin/zango_ai/" + path)
    text = page.content.decode()
    print(path, page.status_code, "za-tabs" in text, "unfold" in text)
"""


@needs_tenants
@pytest.mark.skipif(find_spec("unfold") is None, reason="django-unfold is not installed")
def test_the_pages_work_in_unfolds_theme(live_north):
    panel_data.fill(runs=5)
    User.objects.filter(username="root").delete()
    User.objects.create_superuser("root")
    add_domains(all_tenants()["north"], "north.localhost")
    url, _, query = os.environ["DATABASE_URL"].partition("?")
    database = f"{url.rpartition('/')[0]}/{connection.settings_dict['NAME']}" + (f"?{query}" if query else "")
    environment = {**os.environ, "DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.unfold_settings"}
    paths = [
        "",
        "agentconfig/",
        f"agentconfig/{AgentConfig.objects.first().pk}/change/",
        "invocation/",
        "provider/add/",
    ]
    command = [sys.executable, "-c", FETCH, *paths]
    fetched = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert fetched.stdout.splitlines() == [f"{path} 200 True True" for path in paths], fetched.stderr


def test_the_pages_work_on_another_admin_site_with_some_of_the_models(north, settings):
    settings.ROOT_URLCONF = __name__
    add_domains(north, "north.localhost")
    panel_data.fill(runs=2)
    client = Client(headers={"host": "north.localhost"})
    client.force_login(User.objects.create_superuser("root"))
    for address in ("", "agentconfig/", f"agentconfig/{AgentConfig.objects.first().pk}/change/"):
        page = client.get(f"/staff/zango_ai/{address}")
        assert page.status_code == 200, address
        assert 'href="/staff/zango_ai/agentconfig/"' in page.content.decode(), address
        assert 'href="/admin/' not in page.content.decode(), address


def test_scripts_and_styles_have_the_nonce_of_a_content_security_policy(north, rf, settings):
    request = rf.get("/admin/zango_ai/")
    request.user = User(is_superuser=True, is_active=True, is_staff=True)
    context = {"csp_nonce": 'n"1', "request": request, "media": AgentConfigAdmin(AgentConfig, admin.site).media}
    ours = [tag for tag in re.findall(r"<(?:link|script)[^>]+>", render(context)) if "/zango_ai/" in tag]
    assert len(ours) >= 6
    assert all('nonce="n&quot;1"' in tag for tag in ours)
    assert "nonce" not in render({"request": request})


def render(context):
    return render_to_string("admin/zango_ai/app_index.html", context, request=context["request"])
