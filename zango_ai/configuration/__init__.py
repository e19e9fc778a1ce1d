"""Agents, providers, prompts and tools: from their rows to the frozen values that a run works with."""
