"""A model field that keeps a JSON object encrypted at rest.

Fernet (AES-128-CBC with HMAC-SHA256) from ``cryptography``. Reading a row decrypts nothing: the value is
opened when a program looks into it, so a row that no key opens can still be listed, edited and replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import FieldError, ValidationError
from django.core.signals import setting_changed
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.dispatch import receiver

from ..conf import get_conf
from .keys import derive_key

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

_TOKEN = re.compile(r"gAAAA[A-Za-z0-9_-]{90,}={0,2}")
"""Fernet's form: a version byte and a time of this century, then vector, text and signature."""


class Undecryptable(Exception):
    """No key in use opens the value."""


@lru_cache(maxsize=1)
def _keys() -> tuple[Fernet, ...]:
    """The first encrypts, all decrypt."""
    from cryptography.fernet import Fernet

    derived = (derive_key(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
    return tuple(Fernet(key) for key in get_conf().encryption_keys or derived)


def _cipher() -> MultiFernet:
    from cryptography.fernet import MultiFernet

    return MultiFernet(_keys())


def rotated(token: str) -> str | None:
    """``token`` under the first key; None where it is under that key already. Raises Undecryptable."""
    from cryptography.fernet import InvalidToken

    try:
        _keys()[0].decrypt(token.encode())
        return None
    except InvalidToken:
        pass
    try:
        return _cipher().rotate(token.encode()).decode()
    except InvalidToken:
        raise Undecryptable("No key in ZANGO_AI['ENCRYPTION_KEYS'] opens this value.") from None


@receiver(setting_changed)
def _forget_cipher(*, setting: str, **kwargs: Any) -> None:
    if setting in {"ZANGO_AI", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        _keys.cache_clear()


class Credentials:
    """A set of secrets that gives a value to a program that names it, and nothing to whoever looks.

    ``credentials["api_key"]``, ``get()``, ``in``, ``==`` and assignment work as with a dict; ``reveal()`` returns
    one. It is no mapping: error trackers walk these. It holds the encrypted form alone, so ``repr``, ``vars``,
    iteration, pickles and copies have nothing to show.

    Looking into it raises ``Undecryptable`` where no key opens it.
    """

    __slots__ = ("_token",)

    __iter__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Mapping[str, Any] | None = None, *, token: str | None = None) -> None:
        sealed = _sealed(values or {}) if token is None else token
        values = None  # or it would be in the traceback
        self._keep(sealed)

    def _keep(self, sealed: str | Exception) -> None:
        if isinstance(sealed, Exception):
            raise sealed
        self._token = sealed

    @property
    def token(self) -> str:
        """The encrypted form, as it stands in the database; the same until a value changes."""
        return self._token

    def reveal(self) -> dict[str, Any]:
        """Every value in plain text. Keep it out of local variables where something can be raised."""
        from cryptography.fernet import InvalidToken

        try:
            opened = json.loads(_cipher().decrypt(self._token.encode()))
        except InvalidToken:
            raise Undecryptable("No key in ZANGO_AI['ENCRYPTION_KEYS'] opens this value.") from None
        return dict(opened)

    def get(self, name: str, default: Any = None) -> Any:
        return self.reveal().get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self.reveal()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        sealed = _sealed({**self.reveal(), name: value})
        value = None  # or it would be in the traceback
        self._keep(sealed)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._keep(_sealed({each: value for each, value in self.reveal().items() if each != name}))

    def __contains__(self, name: object) -> bool:
        return name in self.reveal()

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Credentials) and other._token == self._token:
            return True
        try:
            if isinstance(other, Credentials):
                return self.reveal() == other.reveal()
            return isinstance(other, Mapping) and self.reveal() == other
        except Undecryptable:
            return False

    def __repr__(self) -> str:
        return "<Credentials>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self._token,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Credentials:
        return self.__copy__()

    def __copy__(self) -> Credentials:
        return Credentials(token=self._token)


def _sealed(values: Mapping[str, Any]) -> str | Exception:
    """The encrypted form. An error is returned, so that this frame is in no traceback."""
    try:
        return _cipher().encrypt(json.dumps(dict(values), separators=(",", ":"), sort_keys=True).encode()).decode()
    except Exception as exc:
        exc.__cause__ = exc.__context__ = None
        return exc.with_traceback(None)


def _unpickle(token: str) -> Credentials:
    return Credentials(token=token)


class _Wrapping(DeferredAttribute):
    """Wraps a dict when it is assigned, so that not even an unsaved row shows it."""

    def __get__(self, instance: models.Model | None, cls: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        if self.field.attname in instance.__dict__:
            return instance.__dict__[self.field.attname]
        return super().__get__(instance, cls)

    def __set__(self, instance: models.Model, value: Any) -> None:
        wrapped = Credentials(value) if isinstance(value, Mapping) else value
        instance.__dict__[self.field.attname] = wrapped


if TYPE_CHECKING:
    _Field = models.Field[Any, Any]
else:
    _Field = models.Field


class CredentialsField(_Field):
    """Holds a ``Credentials``; a dict may be assigned. It cannot be searched."""

    description = "A JSON object, encrypted"
    descriptor_class = _Wrapping

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("default", Credentials)
        kwargs.setdefault("blank", True)
        kwargs.setdefault("editable", False)  # a form would show and save the wrapper's repr
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("default", None)
        kwargs.pop("blank", None)
        kwargs.pop("editable", None)
        return name, path, args, kwargs

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Credentials | None:
        return None if value is None else Credentials(token=value)

    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, Credentials):
            return value
        if isinstance(value, Mapping):
            return Credentials(value)
        if isinstance(value, str) and _TOKEN.fullmatch(value):  # a fixture's encrypted form
            return Credentials(token=value)
        raise ValidationError(f"Credentials are a dict, not a {type(value).__name__}.")

    def get_prep_value(self, value: Any) -> Any:
        if hasattr(value, "resolve_expression"):
            return value
        held = self.to_python(value)
        return None if held is None else held.token

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        held = self.to_python(getattr(model_instance, self.attname))
        if held is not None:
            # A row that was read before the keys were rotated would bring the old key's token back.
            with suppress(Undecryptable):
                held = Credentials(token=rotated(held.token) or held.token)
        setattr(model_instance, self.attname, held)
        return held

    def value_to_string(self, obj: models.Model) -> str:
        """A fixture carries the encrypted form."""
        return str(self.get_prep_value(self.value_from_object(obj)))

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name != "isnull":
            raise FieldError(f"Credentials cannot be searched ({self.name}__{lookup_name}).")
        return super().get_lookup(lookup_name)


if TYPE_CHECKING:
    _JSONField = models.JSONField[Any, Any]
else:
    _JSONField = models.JSONField


class OrderedJSONField(_JSONField):
    """JSON whose objects keep the order of their keys: a model answers in the order of its schema.

    PostgreSQL's ``jsonb``, which Django's own field is, sorts them; this is text, and cannot be searched.
    """

    def db_type(self, connection: Any) -> str:
        return "text"

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else json.loads(value)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name != "isnull":
            raise FieldError(f"This JSON cannot be searched ({self.name}__{lookup_name}).")
        return super().get_lookup(lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        raise FieldError(f"This JSON cannot be searched ({self.name}__{lookup_name}).")
