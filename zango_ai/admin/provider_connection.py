"""Test a connection and fetch a vendor's models from the values of a form, before they are saved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext

from ..exceptions import ZangoAIError
from ..models import Provider
from .agent_views import model_document
from .formats import latency
from .provider_form import CONNECTION_FIELDS, ProviderForm, fingerprint

_TESTED = "zango_ai_tested"
"""The session's key for the fingerprint of the connection that was tested last."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page shows. ``tone`` is that of an alert."""

    tone: str
    title: str
    text: str = ""


def test(request: HttpRequest, form: ProviderForm) -> Answer:
    """Send a minimal request with the form's values. The vendor bills a few tokens."""
    provider, problem = _unsaved(form)
    request.session.pop(_TESTED, None)
    if problem:
        return problem
    from ..providers import calls

    if not provider.default_model:
        text = gettext("The test asks this model for one word.")
        return Answer("warn", gettext("Enter a default model first."), text)
    calls.warm_up()  # imports litellm once per process, which would count as latency
    spec, begun = replace(provider.spec(), models=()), monotonic()
    try:
        calls.ping(spec, provider.default_model)
    except ZangoAIError as exc:
        return Answer("bad", gettext("The connection fails."), str(exc))
    took = latency((monotonic() - begun) * 1000)
    request.session[_TESTED] = fingerprint(provider)
    names = {"model": provider.default_model, "time": took}
    return Answer("ok", gettext("The connection works."), gettext("%(model)s answered in %(time)s.") % names)


def keep_result(request: HttpRequest, form: ProviderForm) -> bool:
    """Keep the result of the test of a form that is about to be saved. Whether these values were tested and work.

    A connection that has changed since its last test counts as not tested.
    """
    provider: Provider = form.instance
    is_tested = bool(request.session.pop(_TESTED, "") == fingerprint(provider))
    if is_tested:
        provider.validated_at, provider.validation_error = timezone.now(), ""
    elif {*CONNECTION_FIELDS}.intersection(form.changed_data):
        provider.validated_at, provider.validation_error = None, ""
    return is_tested


def fetch(form: ProviderForm) -> tuple[list[dict[str, Any]], Answer | None]:
    """The vendor's models with their prices and abilities, or the problem. Saves nothing."""
    provider, problem = _unsaved(form)
    if problem:
        return [], problem
    from ..providers import model_catalog, model_list

    spec = provider.spec()
    try:
        names = model_list.list_models(spec)
    except ZangoAIError as exc:
        return [], Answer("bad", gettext("The models could not be fetched."), str(exc))
    if not names:
        return [], Answer("warn", gettext("The vendor lists no models for this key."))
    known = {model.model_id for model in spec.models}
    return [
        {**model_document(model_catalog.describe(spec, name)), "is_known": name in known} for name in names
    ], None


def _unsaved(form: ProviderForm) -> tuple[Provider, Answer | None]:
    """The provider as the form has it. Errors of fields that a connection does not need are ignored."""
    form.full_clean()
    provider: Provider = form.instance
    provider.name = provider.name or gettext("the new provider")
    errors = form.connection_errors
    if errors:
        return provider, Answer("bad", gettext("Correct this first."), " ".join(dict.fromkeys(errors)))
    return provider, None
