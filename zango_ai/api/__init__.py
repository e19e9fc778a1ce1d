"""The HTTP API: ``path("ai/", include("zango_ai.urls"))``."""
