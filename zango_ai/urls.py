"""URLs of the HTTP API. Include them in the tenants' URLconf: ``path("ai/", include("zango_ai.urls"))``."""

from __future__ import annotations

from django.urls import path

from .api import openapi, views

app_name = "zango_ai"
urlpatterns = [
    path("openapi.json", openapi.document, name="openapi"),
    path("agents/<str:name>/run/", views.run, name="run"),
    path("agents/<str:name>/stream/", views.stream, name="stream"),
    path("agents/<str:name>/enqueue/", views.enqueue, name="enqueue"),
    path("agents/<str:name>/chat/", views.chat, name="chat"),
    path("agents/<str:name>/chat", views.chat),
    path("agents/<str:name>/chat/<path:chat_id>/stream", views.chat_stream, name="chat_stream"),
    path("agents/<str:name>/sessions/<path:session_id>/clear/", views.clear_session, name="clear_session"),
    path("runs/<str:run_id>/", views.run_detail, name="run_detail"),
    path("runs/<str:run_id>/stream/", views.run_stream, name="run_stream"),
    path("runs/<str:run_id>/cancel/", views.cancel, name="cancel"),
    path("runs/<str:run_id>/approvals/", views.approvals, name="approvals"),
]
