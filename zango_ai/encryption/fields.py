"""Model fields: encrypted credentials, and JSON that keeps the order of its keys.

Loading a row decrypts nothing. The value is decrypted when code reads it, so a row that no key decrypts can still
be listed, edited and replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.core.exceptions import FieldError, ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from ..argument_checks import type_of
from .cipher import Undecryptable, rotated
from .credentials import Credentials

_TOKEN = re.compile(r"gAAAA[A-Za-z0-9_-]{90,}={0,2}")
"""A Fernet token: a version byte and a time of this century, then initialization vector, text and signature."""


class _CredentialsAttribute(DeferredAttribute):
    """Turns an assigned dict into ``Credentials``, so that not even an unsaved instance shows it."""

    def __get__(self, instance: models.Model | None, cls: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        if self.field.attname in instance.__dict__:
            return instance.__dict__[self.field.attname]
        return super().__get__(instance, cls)

    def __set__(self, instance: models.Model, value: Any) -> None:
        credentials = Credentials(value) if isinstance(value, Mapping) else value
        instance.__dict__[self.field.attname] = credentials


if TYPE_CHECKING:
    _Field = models.Field[Any, Any]
else:
    _Field = models.Field


class CredentialsField(_Field):
    """Stores ``Credentials`` encrypted. A dict may be assigned. It cannot be used in lookups."""

    description = "A JSON object, encrypted"
    descriptor_class = _CredentialsAttribute

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("default", Credentials)
        kwargs.setdefault("blank", True)
        kwargs.setdefault("editable", False)  # a form would show and save the repr
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
        if isinstance(value, str) and _TOKEN.fullmatch(value):  # from a fixture
            return Credentials(token=value)
        raise ValidationError(f"Credentials must be a dict. This value is {type_of(value)}.")

    def get_prep_value(self, value: Any) -> Any:
        if hasattr(value, "resolve_expression"):
            return value
        credentials = self.to_python(value)
        return None if credentials is None else credentials.token

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        credentials = self.to_python(getattr(model_instance, self.attname))
        if credentials is not None:
            # Saving an instance that was loaded before the keys were rotated must not restore the old token.
            with suppress(Undecryptable):
                credentials = Credentials(token=rotated(credentials.token) or credentials.token)
        setattr(model_instance, self.attname, credentials)
        return credentials

    def value_to_string(self, obj: models.Model) -> str:
        """Fixtures contain the encrypted form."""
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
    """JSON whose objects keep the order of their keys, stored as text. It cannot be used in lookups.

    Django's own field is PostgreSQL's ``jsonb``, which sorts keys. The order matters in a JSON schema: a model
    answers in that order.
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
