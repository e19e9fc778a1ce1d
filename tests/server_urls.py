"""The URLs of the tests' web servers: the API, the admin, and a page that loads a script of the tests."""

import os
from pathlib import Path

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie

import tests.server_tools  # noqa: F401
import zango_ai
from zango_ai.api import streams

PAGE = '<!doctype html><meta charset="utf-8"><div id="root"></div><script src="/script.js"></script>'

zango_ai.warm_up()


def heartbeat(request: HttpRequest, seconds: str) -> HttpResponse:
    """Change how long this process lets a stream be silent."""
    streams.HEARTBEAT_S = float(seconds)
    return HttpResponse()


@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


def script(request: HttpRequest) -> HttpResponse:
    return HttpResponse(Path(os.environ["TEST_SCRIPT"]).read_bytes(), content_type="text/javascript")


urlpatterns = [
    path("ai/", include("zango_ai.urls")),
    path("admin/", admin.site.urls),
    path("heartbeat/<str:seconds>/", heartbeat),
    path("page/", page),
    path("script.js", script),
]
