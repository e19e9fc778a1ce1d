"""Rows for the active tenant, on the local model server."""

from typing import Any

from zango_ai.models import AgentConfig, Prompt, Provider
from zango_ai.testing import ModelServer

API_KEY = "sk-secret-of-this-tenant"


def make_provider(server: ModelServer, /, **fields: Any) -> Provider:
    kind = fields.setdefault("kind", "openai")
    base = server.anthropic_base if kind == "anthropic" else server.openai_base
    name = "gpt-4o-mini" if kind != "anthropic" else "claude-sonnet-4-5"
    return Provider.objects.create(
        **{
            "name": "main",
            "default_model": name,
            "credentials": {"api_key": API_KEY, "api_base": base},
            **fields,
        }
    )


def make_prompt(content: str, kind: str = "user", name: str | None = None) -> Prompt:
    prompt = Prompt.objects.create(name=name or f"{kind}-prompt", type=kind)
    prompt.add_version(content)
    return prompt


def make_agent(server: ModelServer, /, name: str = "helper", **fields: Any) -> AgentConfig:
    """An agent of the active tenant, on the local model server."""
    provider = fields.pop("provider", None) or make_provider(server)
    return AgentConfig.objects.create(name=name, provider=provider, **fields)
