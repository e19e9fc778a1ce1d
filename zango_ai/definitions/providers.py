"""Define a provider, with its credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError

from ..argument_checks import type_of
from ..configuration_files.file_parts import InvalidFile
from ..encryption.credentials import Credentials
from ..models import Provider
from .applying import Definition

_NO_KIND = "kind: is missing. A new provider needs one, for example 'openai' or 'openai_compatible'."


def take_credentials(options: Any) -> Any:
    """Remove the credentials from the options, where a traceback would show them, and return them encrypted."""
    given = options.pop("credentials", None)
    return Credentials(given) if isinstance(given, Mapping) else given


def definition(name: str, options: Mapping[str, Any], credentials: Any) -> Definition:
    problems: list[str] = []
    if credentials is not None and not isinstance(credentials, Credentials):
        problems.append(f"credentials: must be a dict. This value is {type_of(credentials)}.")
    entry = dict(options)
    if "models" in entry and not isinstance(entry["models"], Mapping):
        entry["models"] = dict(_models(entry["models"], problems))
    afterwards = partial(_save_credentials, name, credentials)
    document = partial(_document, name, entry)
    return Definition(document, tuple(problems), {("providers", name): ""}, afterwards)


def _document(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    if "kind" not in entry and not Provider.objects.filter(name=name).exists():
        raise InvalidFile([_NO_KIND])
    return {"providers": {name: entry}}


def _models(models: Any, problems: list[str]) -> Iterator[tuple[Any, Any]]:
    if isinstance(models, (list, tuple)):
        yield from ((each, {}) for each in models)
    else:
        problems.append(
            f"models: must be a list of names, or a dict of options by name. This value is {type_of(models)}."
        )


def _save_credentials(name: str, credentials: Credentials | None) -> None:
    if credentials is None:
        return
    provider = Provider.objects.get(name=name)
    if provider.credentials == credentials:
        return
    provider.credentials = credentials
    provider.validated_at, provider.validation_error = None, ""
    try:
        provider.clean_fields()
        provider.clean()
    except ValidationError as exc:
        raise InvalidFile([f"credentials: {message}" for message in exc.messages]) from None
    provider.save(update_fields=["credentials", "validated_at", "validation_error", "updated_at"])
