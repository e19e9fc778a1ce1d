"""A project's URLs with the API included."""

from django.urls import include, path

urlpatterns = [path("ai/", include("zango_ai.urls"))]
