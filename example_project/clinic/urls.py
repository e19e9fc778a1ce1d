from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("ai/", include("zango_ai.urls")),  # zango_ai: its HTTP API, for agents that are ticked as open to it
    path("", include("patients.urls")),
]
