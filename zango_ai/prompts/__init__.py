"""Placeholders in prompts, and their values."""
