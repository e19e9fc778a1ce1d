"""Every exception that litellm can raise becomes one of ours."""

import inspect

import httpx
import pytest

from zango_ai.exceptions import LLMAPIError, LLMTimeoutError, RateLimitExceeded, ZangoAIError
from zango_ai.providers import errors, litellm_import
from zango_ai.providers.call_trace import CallTrace
from zango_ai.providers.masking import Mask
from zango_ai.providers.network_guard import Watch
from zango_ai.providers.vendor_messages import Cleaner

SECRET = "sk-very-secret"


def classes():
    module = litellm_import.load().exceptions
    found = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, Exception)]
    return sorted({c for c in found if c.__module__ == module.__name__}, key=lambda c: c.__name__)


def make(cls):
    """One of that class, whatever its constructor wants."""
    exc = cls.__new__(cls)
    exc.args = (f"trouble with {SECRET}",)
    exc.message = f"trouble with {SECRET}"
    exc.response = httpx.Response(400, headers={"x-echo": SECRET})
    exc.model, exc.llm_provider = "m", "openai"
    exc.num_retries = exc.max_retries = exc.litellm_debug_info = None
    exc.original_exception = ValueError(SECRET)
    exc.current_cost = exc.max_budget = 0.0
    return exc


@pytest.mark.parametrize("cls", classes(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("status", [None, 400, 401, 429, 500])
def test_it_becomes_one_of_ours_without_the_secret(cls, status):
    call = CallTrace(0.0, Watch(), status=status)
    ours = errors.translate(
        make(cls), call, provider_name="p", where="Provider 'p'", cleaner=Cleaner(Mask([SECRET]))
    )
    assert isinstance(ours, ZangoAIError)
    if status == 429:
        assert isinstance(ours, RateLimitExceeded)
    elif cls.__name__ == "Timeout" and status is None:
        assert isinstance(ours, LLMTimeoutError)
    else:
        assert isinstance(ours, LLMAPIError)
        assert SECRET not in repr(vars(ours.original_error)) + repr(ours.original_error.args)
    assert SECRET not in errors.vendor_message(ours) + repr(ours)
    assert ours.__cause__.__traceback__ is None


def test_the_classes_that_are_told_apart_are_litellms():
    assert set(errors.CLASSES) <= {c.__name__ for c in classes()}


class SoftTimeLimit(Exception):
    """As Celery's: raised by a signal, wherever the code is just then."""


def test_what_passes_through_a_call_is_not_taken_for_its_error():
    wrapped = RuntimeError("Connection error.")
    wrapped.__cause__ = SoftTimeLimit()
    assert isinstance(errors.foreign_cause(wrapped), SoftTimeLimit)
    assert isinstance(errors.foreign_cause(KeyboardInterrupt()), KeyboardInterrupt)
    assert errors.foreign_cause(httpx.ReadError("gone")) is None


@pytest.mark.parametrize("raw", ["inf", "nan", "-1", "soon", ""])
def test_a_senseless_wait_is_none(raw):
    call = CallTrace(0.0, Watch(), status=429, headers={"retry-after": raw})
    ours = errors.translate(
        ValueError("x"), call, provider_name="p", where="Provider 'p'", cleaner=Cleaner(Mask([]))
    )
    assert ours.retry_after_seconds in {None, 0.0}
