"""Rows for the active tenant, on the local model server."""

from typing import Any

from zango_ai.configuration import tool_rows
from zango_ai.models import AgentConfig, Prompt, Provider, Tool
from zango_ai.testing import ModelServer, Reply

API_KEY = "sk-secret-of-this-tenant"


DEFAULT_MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "azure": "my-deployment",
    "bedrock": "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "groq": "openai/gpt-oss-20b",
    "ollama": "llama3.2",
}


def credentials_for(server: ModelServer, kind: str) -> dict[str, str]:
    """What a provider of that kind needs to reach the local model server."""
    bases = {"gemini": server.gemini_base}
    bases |= dict.fromkeys(("anthropic", "azure", "bedrock", "ollama"), server.url)
    credentials = {"api_base": bases.get(kind, server.openai_base)}
    if kind == "bedrock":
        return credentials | {
            "aws_access_key_id": "AKIA-OF-THIS-TENANT",
            "aws_secret_access_key": API_KEY,
            "aws_region_name": "eu-central-1",
        }
    if kind == "azure":
        credentials |= {"api_version": "2024-10-21", "base_model": "gpt-4o-mini"}
    return credentials | {"api_key": API_KEY}


def make_provider(server: ModelServer, /, **fields: Any) -> Provider:
    kind = fields.setdefault("kind", "openai")
    name = DEFAULT_MODELS.get(kind, "gpt-4o-mini")
    return Provider.objects.create(
        **{
            "name": "main",
            "default_model": name,
            "max_retries": 0,
            "credentials": credentials_for(server, kind),
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


def make_priced_agent(server: ModelServer, /, name: str = "helper", **fields: Any) -> AgentConfig:
    """An agent of which each call costs a quarter dollar, and is estimated at just that: see ``QUARTER``."""
    limits = {field: fields.pop(field) for field in list(fields) if hasattr(Provider, field) and field != "name"}
    provider = make_provider(server, **limits)
    price_models(provider)
    return make_agent(server, name, provider=provider, max_tokens=1000, **fields)


def price_models(provider: Provider, output_usd: Any = 250, **fields: Any) -> None:
    """Give the provider's default model a price for output, a million tokens, and none for input."""
    provider.models.create(
        model_id=provider.default_model, input_cost_per_mtok=0, output_cost_per_mtok=output_usd, **fields
    )


QUARTER = Reply("a quarter", input_tokens=100, output_tokens=1000)
"""What an agent of ``make_priced_agent`` is answered for $0.25."""


def make_agent_with(server: ModelServer, /, *functions: Any, **fields: Any) -> AgentConfig:
    """An agent that may call these functions, each of which is decorated with ``@tool``."""
    agent = make_agent(server, **fields)
    tool_rows.sync()
    agent.tools.set(Tool.objects.filter(name__in=[function.tool.name for function in functions]))
    return agent
