"""Prompts with placeholders: ``rendering`` finds and fills them."""
