"""All names that spans and metrics have: OpenTelemetry's semantic conventions for generative AI.

They follow v0.1.0 of ``open-telemetry/semantic-conventions-genai``. In 2026 the conventions moved there from
``open-telemetry/semantic-conventions``, whose last version that has them is v1.41.0. The names that v0.1.0 has
replaced are sent as well, because many backends still read them: ``OLD_*``.
"""

from __future__ import annotations

from types import MappingProxyType

VERSION = "v0.1.0"
OLD_VERSION = "v1.41.0"
SCOPE = "zango_ai"
"""The instrumentation scope of all spans and metrics."""

# Operations; each is also the first word of its span's name.
INVOKE_AGENT = "invoke_agent"
CHAT = "chat"
EXECUTE_TOOL = "execute_tool"

# Attributes of the conventions.
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
OUTPUT_TYPE = "gen_ai.output.type"
CONVERSATION_ID = "gen_ai.conversation.id"
AGENT_NAME = "gen_ai.agent.name"
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_TYPE = "gen_ai.tool.type"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
OLD_CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
TOKEN_MODALITY = "gen_ai.token.modality"
OLD_TOKEN_TYPE = "gen_ai.token.type"
ERROR_TYPE = "error.type"

# Attributes of this package.
TENANT = "zango_ai.tenant"
"""The tenant's schema. Spans and metrics have it."""
RUN_ID = "zango_ai.run_id"
INVOCATION_ID = "zango_ai.invocation_id"
ROUND = "zango_ai.round"
STATUS = "zango_ai.status"
"""The status of the run's row, or of the tool call's."""
COST_USD = "zango_ai.cost_usd"
TRIGGER = "zango_ai.triggered_by"

# Metrics.
CALL_DURATION = "gen_ai.client.inference.duration"
OLD_CALL_DURATION = "gen_ai.client.operation.duration"
AGENT_DURATION = "gen_ai.invoke_agent.duration"
TOOL_DURATION = "gen_ai.execute_tool.duration"
USED_INPUT_TOKENS = "gen_ai.client.inference.usage.input_tokens"
USED_OUTPUT_TOKENS = "gen_ai.client.inference.usage.output_tokens"
USED_CACHE_READ_TOKENS = "gen_ai.client.inference.usage.cache_read.input_tokens"
USED_CACHE_WRITE_TOKENS = "gen_ai.client.inference.usage.cache_write.input_tokens"
OLD_TOKEN_USAGE = "gen_ai.client.token.usage"

SECONDS_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS = tuple(4**power for power in range(14))

UNKNOWN_MODALITY = "unknown"
"""No vendor reports the tokens of texts and of files apart."""
FUNCTION = "function"

_PROVIDER_NAMES = MappingProxyType(
    {
        "azure": "azure.ai.openai",
        "bedrock": "aws.bedrock",
        "gemini": "gcp.gemini",
        "mistral": "mistral_ai",
    }
)
_FINISH_REASONS = MappingProxyType(
    {"end_turn": "stop", "max_tokens": "length", "refusal": "content_filter", "tool_use": "tool_call"}
)
FAILED_FINISH = "error"


def provider_name(kind: str) -> str:
    """The conventions' name for a ``Provider.kind``. For a kind that they do not list, the kind itself."""
    return _PROVIDER_NAMES.get(kind, kind)


def finish_reason(stop_reason: str) -> str:
    """The conventions' name for a ``stop_reason``. The reasons for which a run stops have only their own names."""
    return _FINISH_REASONS.get(stop_reason, stop_reason)
