"""The section tabs and the views that admins add: who sees them, on which admin site."""

import pytest
from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse

from zango_ai.admin import formats, panel
from zango_ai.admin.components import badge, budget_meter, code_box
from zango_ai.admin.panel import PanelAdmin
from zango_ai.models import AgentConfig


@pytest.fixture
def request_of(north, rf):
    def make(user):
        request = rf.get("/admin/zango_ai/agentconfig/")
        request.user = user
        return request

    return make


def staff(*codenames):
    user = User.objects.create_user("nurse", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def test_a_user_sees_the_tabs_of_what_they_may_view(request_of):
    request = request_of(staff("view_agentconfig", "view_invocation"))
    shown = list(panel.tabs(request, "agentconfig"))
    assert [tab.section.name for tab in shown] == ["overview", "agents", "invocations"]
    assert [tab.section.name for tab in shown if tab.is_current] == ["agents"]


class ExampleAdmin(PanelAdmin, admin.ModelAdmin):
    def panel_urls(self):
        return [self.panel_path("<int:pk>/try/", self.try_it, "agentconfig_try", permission="run_agent")]

    def try_it(self, request, pk):
        return HttpResponse(f"tried {pk}")


@pytest.mark.parametrize(
    ("codenames", "is_allowed"),
    [(["view_agentconfig"], False), (["run_agent"], False), (["view_agentconfig", "run_agent"], True)],
)
def test_a_view_of_an_admin_needs_the_models_permission_and_its_own(request_of, codenames, is_allowed):
    (view, *_) = ExampleAdmin(AgentConfig, admin.site).get_urls()
    request = request_of(staff(*codenames))
    if is_allowed:
        assert view.callback(request, pk=3).content == b"tried 3"
    else:
        with pytest.raises(PermissionDenied):
            view.callback(request, pk=3)


def test_a_view_of_an_admin_sends_visitors_to_the_login(request_of):
    (view, *_) = ExampleAdmin(AgentConfig, admin.site).get_urls()
    assert view.callback(request_of(AnonymousUser()), pk=3).status_code == 302


def test_the_tabs_belong_to_the_admin_site_that_serves_the_page(request_of):
    site = AdminSite(name="clinic_admin")
    request = request_of(User(is_superuser=True, is_staff=True, is_active=True))
    request.current_app = "clinic_admin"
    assert panel.site_of(request) is site
    assert panel.site_of(request_of(AnonymousUser())).name == admin.site.name


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.usd(0), "$0.00"),
        (formats.usd(0.00001), "<$0.0001"),
        (formats.usd(0.0021), "$0.0021"),
        (formats.usd(0.12), "$0.12"),
        (formats.usd(0.148), "$0.1480"),
        (formats.usd(1250), "$1,250.00"),
        (formats.usd(None), "unknown"),
        (formats.short_count(9310), "9,310"),
        (formats.short_count(12_345), "12.3k"),
        (formats.short_count(4_100_000), "4.1M"),
        (formats.latency(840), "840 ms"),
        (formats.latency(2740), "2.7 s"),
        (formats.latency(185_000), "3 min 5 s"),
        (formats.percent(982, 1000), "98.2%"),
        (formats.percent(0, 0), "\N{EN DASH}"),
    ],
)
def test_figures_are_short_and_exact_enough(shown, expected):
    assert shown == expected


def test_what_a_component_shows_is_escaped():
    assert "<i>" not in badge("success", "<i>") + code_box({"x": "<i>"}) + budget_meter(1, 2, label="<i>")
