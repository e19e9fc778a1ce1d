"""The metrics: durations and tokens of calls, durations of runs and tools."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from opentelemetry import metrics

from ..types import LLMUsage
from . import conventions as names

Attributes = Mapping[str, str | bool | int | float]


class Instruments:
    """The instruments of one meter provider."""

    def __init__(self, meter: metrics.Meter) -> None:
        self.call_duration = _seconds(meter, names.CALL_DURATION, "Duration of a call to the provider.")
        self.old_call_duration = _seconds(meter, names.OLD_CALL_DURATION, "Duration of a call to the provider.")
        self.agent_duration = _seconds(meter, names.AGENT_DURATION, "Duration of a run.")
        self.tool_duration = _seconds(meter, names.TOOL_DURATION, "Duration of a tool's execution.")
        self.input_tokens = _tokens(meter, names.USED_INPUT_TOKENS, "Input tokens, including cached ones.")
        self.output_tokens = _tokens(meter, names.USED_OUTPUT_TOKENS, "Output tokens.")
        self.cache_read_tokens = _tokens(meter, names.USED_CACHE_READ_TOKENS, "Input tokens read from the cache.")
        self.cache_write_tokens = _tokens(
            meter, names.USED_CACHE_WRITE_TOKENS, "Input tokens written to the cache."
        )
        self.old_token_usage = meter.create_histogram(
            names.OLD_TOKEN_USAGE,
            unit="{token}",
            description="Tokens of a call.",
            explicit_bucket_boundaries_advisory=names.TOKEN_BUCKETS,
        )

    def count_call(self, seconds: float, attributes: Attributes, usage: LLMUsage | None) -> None:
        """``usage`` is None if the provider has not answered."""
        self.call_duration.record(seconds, attributes)
        self.old_call_duration.record(seconds, attributes)
        if usage is None:
            return
        common = {key: value for key, value in attributes.items() if key != names.ERROR_TYPE}
        by_modality = {**common, names.TOKEN_MODALITY: names.UNKNOWN_MODALITY}
        self.input_tokens.add(usage.input_tokens, by_modality)
        self.output_tokens.add(usage.output_tokens, by_modality)
        if usage.cache_read_tokens:
            self.cache_read_tokens.add(usage.cache_read_tokens, by_modality)
        if usage.cache_creation_tokens:
            self.cache_write_tokens.add(usage.cache_creation_tokens, by_modality)
        self.old_token_usage.record(usage.input_tokens, {**common, names.OLD_TOKEN_TYPE: "input"})
        self.old_token_usage.record(usage.output_tokens, {**common, names.OLD_TOKEN_TYPE: "output"})


def current() -> Instruments:
    """Those of the meter provider that the application has set."""
    return _of_provider(metrics.get_meter_provider())


@lru_cache(maxsize=2)
def _of_provider(provider: metrics.MeterProvider) -> Instruments:
    return Instruments(provider.get_meter(names.SCOPE))


def _seconds(meter: metrics.Meter, name: str, description: str) -> metrics.Histogram:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=names.SECONDS_BUCKETS
    )


def _tokens(meter: metrics.Meter, name: str, description: str) -> metrics.Counter:
    return meter.create_counter(name, unit="{token}", description=description)
