"""The admin pages of each tenant's configuration and log. On the public schema there are none."""

from . import agent, invocation, memory, prompt, provider, provider_model, spending, tool

__all__ = ["agent", "invocation", "memory", "prompt", "provider", "provider_model", "spending", "tool"]
