"""An answer as an instance of a type of the caller's: a pydantic model, a dataclass, or what pydantic can read."""

from __future__ import annotations

import json
from typing import Any

from .exceptions import OutputValidationError


class OutputType:
    """What ``run(output_type=...)`` was given."""

    def __init__(self, given: Any) -> None:
        """Raises TypeError for what no JSON schema can be made of."""
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUserError

        try:
            self._adapter: Any = TypeAdapter(given)
            self.schema: dict[str, Any] = self._adapter.json_schema()
        except (PydanticUserError, TypeError, AttributeError) as exc:
            raise TypeError(
                f"output_type is {given!r}; pass a pydantic model, a dataclass or another type that pydantic can "
                f"read from JSON. It says: {exc}"
            ) from exc

    def read(self, value: Any) -> Any:
        """An instance. Raises OutputValidationError."""
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(json.dumps(value))
        except ValidationError as exc:
            errors = [{"path": _path(each["loc"]), "message": each["msg"]} for each in exc.errors()]
            raise OutputValidationError(
                errors, f"The answer does not fit output_type at {errors[0]['path']}. See errors."
            ) from None


def _path(place: tuple[int | str, ...]) -> str:
    """As a JSON path: ``$.items[0].price``."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
