"""Check that a provider can be called, and that a model can do what a run needs, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver

from ..conf import get_conf
from ..encryption.cipher import Undecryptable
from ..encryption.credentials import Credentials
from ..exceptions import ModelNotAvailable, PriceUnknown, ProviderConfigInvalid
from ..files.file import LLMFile
from ..types import ProviderSpec, Secrets, Target
from . import addresses, attachments, model_info, model_names
from .kinds import KINDS, Kind
from .model_info import ModelInfo


def check_provider(provider: ProviderSpec) -> Kind:
    """The provider's kind. Raises ProviderConfigInvalid if its kind, credentials or address cannot be used."""
    credentials, bases = provider.credentials, get_conf().allowed_api_bases
    if isinstance(credentials, Credentials):
        problem = _cached_problem(provider.kind, credentials.token, bases)
    else:
        problem = _problem(provider.kind, credentials, bases)
    if problem is not None:
        field, reason = problem
        raise ProviderConfigInvalid(provider.name, f"Provider {provider.name!r} {reason}", field=field)
    return KINDS[provider.kind]


def require_fit(target: Target, files: Iterable[LLMFile], *, needs_tools: bool, needs_price: bool) -> None:
    """Check the target's provider, its model and the files.

    Raises ProviderConfigInvalid, ModelNotAvailable, LLMFileError or PriceUnknown.
    """
    kind = check_provider(target.provider)
    require_own_model(target.provider, kind, target.model)
    model = model_info.look_up(target.provider, target.model)
    _require_chat_model(target, model)
    if needs_tools:
        _require_tool_model(target, model)
    attachments.require_accepted(target, files, model)
    if needs_price:
        _require_price(target, model)


def require_own_model(provider: ProviderSpec, kind: Kind, model: str) -> None:
    """Raises ModelNotAvailable for a name with which litellm would call a vendor other than the provider's."""
    problem = model_names.problem_of(kind, model)
    if problem is not None:
        raise ModelNotAvailable(
            model,
            provider.name,
            f"Model {model!r} cannot be used with provider {provider.name!r}. {problem} Nothing was sent.",
        )


@lru_cache(1024)
def _cached_problem(kind: str, token: str, bases: tuple[str, ...]) -> tuple[str, str] | None:
    """``_problem()`` of encrypted credentials, which are decrypted only the first time."""
    return _problem(kind, Credentials(token=token), bases)


@receiver(setting_changed)
def _clear_cache(**kwargs: Any) -> None:
    _cached_problem.cache_clear()


def _problem(kind_name: str, credentials: Secrets, bases: tuple[str, ...]) -> tuple[str, str] | None:
    """The name of the invalid field, and the rest of a sentence that begins with the provider's name."""
    kind = KINDS.get(kind_name)
    if kind is None:
        return "kind", f"has the unknown kind {kind_name!r}. Choose one of {', '.join(KINDS)}."
    try:
        slot = kind.missing_slot(credentials)
    except Undecryptable as exc:
        reason = f"has credentials that cannot be decrypted: {exc} Restore the key that encrypted them, or "
        return "credentials", reason + "enter the credentials again."
    if slot is not None:
        # Without a key, litellm would use the one in the host's environment.
        return slot.name, f"has no {slot.label} ({slot.name}). Enter it in the provider's credentials."
    slot = kind.malformed_slot(credentials)
    if slot is not None:
        return (
            slot.name,
            f"has an invalid {slot.label} ({slot.name}): it contains spaces, line breaks or non-ASCII characters.",
        )
    problem = addresses.problem_of(kind.base_url(credentials), bases)
    return None if problem is None else ("api_base", f"has an API base URL that cannot be used. {problem}")


def _require_price(target: Target, model: ModelInfo) -> None:
    """Raises PriceUnknown if the spend on this model could not be counted against a budget."""
    if target.provider.allow_unpriced or model.price is not None:
        return
    name = target.provider.name
    owner = "The agent" if target.provider.budget.limit_usd is None else f"Provider {name!r}"
    raise PriceUnknown(
        target.model,
        name,
        f"{owner} has a monthly budget, and the price of {_described(target)} is not known. On the page of "
        f"provider {name!r} in the admin, enter the model's prices under Models, or tick 'Allow models without a "
        "price'.",
    )


def _require_chat_model(target: Target, model: ModelInfo) -> None:
    """Raises ModelNotAvailable for a model that is not a chat model."""
    if model.mode != "chat" or target.model.startswith("responses/"):
        raise ModelNotAvailable(
            target.model,
            target.provider.name,
            f"zango_ai cannot use {_described(target)}: it answers through another API of the vendor "
            f"({model.mode}). Choose a chat model.",
        )


def _require_tool_model(target: Target, model: ModelInfo) -> None:
    """Raises ModelNotAvailable if the provider's list of models says that the model takes no tools."""
    if model.row is not None and model.row.accepts_tools is False:
        raise ModelNotAvailable(
            target.model,
            target.provider.name,
            f"The agent has tools, but {_described(target)} takes no tools, by the provider's list of models. "
            "Choose another model, or change the list.",
        )


def _described(target: Target) -> str:
    return f"model {target.model!r} of provider {target.provider.name!r}"
