"""An answer as ``run(output_type=...)`` asks for it: an instance of a Python type, or plain JSON of a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..exceptions import OutputSchemaInvalid, OutputValidationError
from . import json_schema

_MAX_ERRORS = 100


class OutputType:
    """What ``run(output_type=...)`` was given."""

    def __init__(self, given: Any) -> None:
        """Raises TypeError for a value that is no type, OutputSchemaInvalid for a dict that is no JSON schema."""
        self._adapter: Any = None
        """None: the answer stays as it is."""
        if isinstance(given, Mapping):
            self.schema: dict[str, Any] = dict(given)
            problem = json_schema.problem_of(self.schema)
            if problem is not None:
                raise OutputSchemaInvalid(f"output_type is not a valid JSON schema: {problem}")
            return
        self._adapter, schema = _of_type(given)
        # pydantic itself checks these: it writes a lookahead for each Decimal.
        self.schema = json_schema.without_unsupported_patterns(schema)

    def read(self, value: Any) -> Any:
        """An instance. Raises OutputValidationError."""
        if self._adapter is None:
            return value
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(json.dumps(value))
        except ValidationError as exc:
            found = exc.errors(include_url=False, include_context=False, include_input=False)
            errors = [
                {"path": json_schema.json_path(each["loc"]), "message": each["msg"]} for each in found[:_MAX_ERRORS]
            ]
            message = json_schema.in_words("output_type", errors, are_all=len(found) <= _MAX_ERRORS)
            raise OutputValidationError(errors, message) from None


def _of_type(given: Any) -> tuple[Any, dict[str, Any]]:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError
    from pydantic_core import SchemaError

    try:
        adapter: Any = TypeAdapter(given)
        return adapter, adapter.json_schema()
    except (PydanticUserError, SchemaError, TypeError, AttributeError) as exc:
        raise TypeError(
            f"output_type is {given!r}; pass a pydantic model, a dataclass, another type that pydantic can read "
            f"from JSON, or a JSON schema as a dict. pydantic says: {exc}"
        ) from exc
