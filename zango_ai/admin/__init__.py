"""The admin pages of each tenant's configuration and log. On the public schema there are none."""

from . import agent, approval, invocation, memory, prompt, provider, provider_model, spending, tool

__all__ = ["agent", "approval", "invocation", "memory", "prompt", "provider", "provider_model", "spending", "tool"]
