"""A provider's credentials as a value that shows nothing: encrypted in memory, as in the database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import cipher
from .cipher import Undecryptable


class Credentials:
    """Secrets by name. Code that names one gets its value; ``repr()``, pickles and error reports show nothing.

    ``credentials["api_key"]``, ``get()``, ``in``, ``==`` and assignment work as with a dict; ``reveal()`` returns a
    dict. It is not a mapping, because error trackers walk through mappings. The object holds only the encrypted
    form.

    Reading a value raises ``Undecryptable`` if no key decrypts the credentials.
    """

    __slots__ = ("_token",)

    __iter__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Mapping[str, Any] | None = None, *, token: str | None = None) -> None:
        token_or_error = _encrypted(values or {}) if token is None else token
        values = None  # a traceback shows local variables
        self._set_token(token_or_error)

    def _set_token(self, token_or_error: str | Exception) -> None:
        if isinstance(token_or_error, Exception):
            raise token_or_error
        self._token = token_or_error

    @property
    def token(self) -> str:
        """The encrypted form, as the database stores it. It stays the same until a value changes."""
        return self._token

    def reveal(self) -> dict[str, Any]:
        """All values in plain text. Do not keep them in a local variable: a traceback would show it."""
        return dict(json.loads(cipher.decrypt(self._token)))

    def get(self, name: str, default: Any = None) -> Any:
        return self.reveal().get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self.reveal()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        token_or_error = _encrypted({**self.reveal(), name: value})
        value = None  # a traceback shows local variables
        self._set_token(token_or_error)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._set_token(_encrypted({each: value for each, value in self.reveal().items() if each != name}))

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


def _encrypted(values: Mapping[str, Any]) -> str | Exception:
    """The token of the values, or the error. It is returned: a traceback would show this frame's variables."""
    try:
        return cipher.encrypt(json.dumps(dict(values), separators=(",", ":"), sort_keys=True))
    except Exception as exc:
        exc.__cause__ = exc.__context__ = None
        return exc.with_traceback(None)


def _unpickle(token: str) -> Credentials:
    return Credentials(token=token)
