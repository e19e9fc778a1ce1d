"""Each tenant's configuration and log, in Django's admin; on the public schema there is nothing to see."""

from . import agent, invocation, memory, prompt, provider, spending, tool

__all__ = ["agent", "invocation", "memory", "prompt", "provider", "spending", "tool"]
