"""The largest values that the configuration accepts."""

from __future__ import annotations

MAX_TIMEOUT_S = 86_400
"""One day, for one round or one tool call."""
MAX_TOKENS = 1_000_000
MAX_TOOL_ROUNDS = 100
MAX_REMEMBERED_TURNS = 1_000
MAX_OUTPUT_RETRIES = 5
MAX_RETRIES = 10
MAX_PER_MINUTE = 1_000_000_000
MAX_BUDGET_USD = 1_000_000_000
MAX_USD_PER_MTOK = 100_000
MAX_POSITION = 1_000
MAX_VERSIONS = 1_000_000
