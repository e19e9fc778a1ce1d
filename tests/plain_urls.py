"""The URLs of the project without tenants."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("ai/", include("zango_ai.urls")), path("admin/", admin.site.urls)]
