"""The type that ``run(output_type=...)`` converts an answer to."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import Any

from ..exceptions import OutputSchemaInvalid, OutputValidationError
from . import json_schema

_MAX_ERRORS = 100
_ADVICE = (
    "pass a pydantic model, a dataclass, another type that pydantic can read from JSON, or a JSON schema as a dict"
)


class OutputType:
    """A Python type that pydantic can read from JSON, or a JSON schema as a dict."""

    def __init__(self, output_type: Any) -> None:
        """Raises TypeError for anything else, OutputSchemaInvalid for a dict that is not a valid JSON schema."""
        self._adapter: Any = None
        """None for a JSON schema: the answer is not converted."""
        if isinstance(output_type, Mapping):
            self.schema: dict[str, Any] = dict(output_type)
            problem = json_schema.problem_of(self.schema)
            if problem is not None:
                raise OutputSchemaInvalid(f"output_type is not a valid JSON schema: {problem}")
            return
        _require_type(output_type)
        self._adapter, schema = _adapter_and_schema(output_type)
        # pydantic validates these patterns itself. For a Decimal it writes one with a lookahead.
        self.schema = json_schema.without_unsupported_patterns(schema)

    def read(self, value: Any) -> Any:
        """Convert a JSON value. Raises OutputValidationError."""
        if self._adapter is None:
            return value
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(json.dumps(value))
        except ValidationError as exc:
            all_errors = exc.errors(include_url=False, include_context=False, include_input=False)
            errors = [
                {"path": json_schema.json_path(error["loc"]), "message": error["msg"]}
                for error in all_errors[:_MAX_ERRORS]
            ]
            is_complete = len(all_errors) <= _MAX_ERRORS
            message = json_schema.describe_errors("output_type", errors, is_complete=is_complete)
            raise OutputValidationError(errors, message) from None


def _require_type(output_type: Any) -> None:
    """Raise TypeError for values of which pydantic makes a schema that no answer is meant to have."""
    if isinstance(output_type, str):
        raise TypeError(f"output_type is the str {output_type[:50]!r}; {_ADVICE}.")
    if output_type is object:
        raise TypeError(f"output_type is object, which fits any value; {_ADVICE}.")
    if inspect.isroutine(output_type):
        raise TypeError(f"output_type is a function; {_ADVICE}.")
    made_of = type(output_type)
    is_instance = dataclasses.is_dataclass(made_of) or hasattr(made_of, "__pydantic_core_schema__")
    if is_instance and not isinstance(output_type, type):
        raise TypeError(f"output_type is an instance of {made_of.__name__}; pass the class {made_of.__name__}.")


def _adapter_and_schema(output_type: Any) -> tuple[Any, dict[str, Any]]:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError
    from pydantic_core import SchemaError

    try:
        adapter: Any = TypeAdapter(output_type)
        return adapter, adapter.json_schema()
    except (PydanticUserError, SchemaError, TypeError, AttributeError) as exc:
        name = output_type.__name__ if isinstance(output_type, type) else f"a {type(output_type).__name__}"
        reason = str(exc).partition("\n")[0]
        raise TypeError(f"output_type is {name}; {_ADVICE}. pydantic's error: {reason}") from exc
