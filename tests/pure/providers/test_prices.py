"""What a round costs, beside litellm's own computation where that is right."""

from decimal import Decimal

import pytest

from zango_ai.providers import litellm_import, model_info, prices
from zango_ai.types import LLMUsage, ModelSpec, ProviderSpec

MODELS = {
    "openai": ["gpt-4o-mini", "gpt-4o", "o3-mini", "gpt-5"],
    "anthropic": ["claude-sonnet-4-5"],
    "gemini": ["gemini-2.5-flash", "gemini-2.5-pro"],
    "azure": ["gpt-4o-mini"],
    "mistral": ["mistral-small-latest"],
    "bedrock": ["anthropic.claude-3-5-sonnet-20240620-v1:0"],
}


def provider(kind, *models):
    return ProviderSpec(
        id=1, name="p", kind=kind, credentials={}, default_model="", is_enabled=True, models=tuple(models)
    )


@pytest.mark.parametrize(("kind", "model"), [(kind, model) for kind, models in MODELS.items() for model in models])
@pytest.mark.parametrize("usage", [LLMUsage(1000, 200), LLMUsage(1000, 200, 0, 600), LLMUsage(300_000, 50)])
def test_it_agrees_with_the_list(kind, model, usage):
    litellm = litellm_import.load()
    counted = litellm.Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        prompt_tokens_details={"cached_tokens": usage.cache_read_tokens},
    )
    theirs = litellm.cost_calculator.cost_per_token(model=model, custom_llm_provider=kind, usage_object=counted)
    price = model_info.look_up(provider(kind), model).price
    assert price is not None
    assert float(prices.cost_of(usage, price)) == pytest.approx(sum(theirs), abs=1e-8)


def test_cached_and_reasoning_tokens_have_rates_of_their_own():
    price = model_info.look_up(provider("anthropic"), "claude-sonnet-4-5").price
    assert prices.cost_of(LLMUsage(1000, 10, 300, 600), price) == Decimal("0.00175500") + Decimal("0.00000000")
    gemini = model_info.look_up(provider("gemini"), "gemini-2.5-flash").price
    assert prices.cost_of(LLMUsage(0, 100), gemini, reasoning_tokens=40) == Decimal("0.00025000")


@pytest.mark.parametrize("kind", ["openai_compatible", "ollama"])
def test_a_server_of_ones_own_has_no_price(kind):
    assert model_info.look_up(provider(kind), "gpt-4o-mini").price is None


def test_a_vendors_price_is_not_taken_for_another_vendors():
    assert model_info.look_up(provider("mistral"), "gpt-4o-mini").price is None


def test_a_price_of_ones_own_moves_the_rates_that_belong_to_it():
    half = ModelSpec("gpt-4o-mini", True, Decimal("0.075"), None)
    price = model_info.look_up(provider("openai", half), "gpt-4o-mini").price
    # list: 0.15 in, 0.075 cached, 0.60 out
    assert prices.cost_of(LLMUsage(1_000_000, 1_000_000, 0, 500_000), price) == Decimal("0.65625000")


def test_a_price_for_one_side_alone_is_none_where_the_other_is_not_known():
    spec = ModelSpec("mine", True, Decimal(1), None)
    assert model_info.look_up(provider("openai_compatible", spec), "mine").price is None


def test_a_thousand_small_runs_add_up_exactly():
    spec = ModelSpec("mine", True, Decimal(1), Decimal(1))
    price = model_info.look_up(provider("openai_compatible", spec), "mine").price
    assert sum(prices.cost_of(LLMUsage(50, 50), price) for _ in range(1000)) == Decimal("0.1")
