"""Write a definition into the active tenant. The import of configuration files does the work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction

from .. import argument_checks, tenancy
from ..configuration_files.file_parts import InvalidFile, Part
from ..configuration_files.importing import apply_document
from ..exceptions import DefinitionInvalid, NotMigrated, WrongTenant
from ..models.tenant_row import TenantRow

_IN_MIGRATIONS = (
    "In a data migration, depend on the newest migration of zango_ai, or make the call in a post_migrate receiver."
)


@dataclass(frozen=True, slots=True)
class Definition:
    """What to write: a document as in a configuration file, and what such a document cannot have."""

    document: Callable[[], Mapping[str, Any]]
    """Makes the document. It may read the tenant's rows, and is called again if another process changes them."""
    problems: tuple[str, ...] = ()
    """What is wrong with the options. With any, nothing is written."""
    options_by_entry: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Which option an entry of the document comes from. The others' problems are shown as they are."""
    afterwards: Callable[[], None] = lambda: None
    """Writes the rest, in the same transaction. Raises InvalidFile."""


def apply(noun: str, name: str, definition: Definition) -> str:
    """Write the definition, and return the schema. Raises DefinitionInvalid, WrongTenant or NotMigrated."""
    argument_checks.require_name(name, f"define_{noun}")
    schema = tenancy.current_schema()
    if tenancy.is_public(schema):
        raise WrongTenant(
            schema,
            f"No tenant is active, so {noun} {name!r} cannot be defined: this is the public schema. "
            f"{tenancy.advice_without_tenant()}",
        )
    try:
        _write(definition, schema)
    except InvalidFile as exc:
        problems = [_named_by_option(problem, definition.options_by_entry) for problem in exc.problems]
        lines = "\n".join([f"{noun.title()} {name!r} in schema {schema!r} was not changed.", *problems])
        raise DefinitionInvalid(name, problems, lines) from None
    return schema


def _write(definition: Definition, schema: str) -> None:
    if definition.problems:
        raise InvalidFile(list(definition.problems))
    try:
        with tenancy.needs_tables(schema):
            try:
                _write_once(definition)
            except IntegrityError:  # another process has created a row of that name meanwhile
                _write_once(definition)
    except NotMigrated as exc:
        raise NotMigrated(schema, f"{exc} {_IN_MIGRATIONS}") from exc.__cause__


def _write_once(definition: Definition) -> None:
    with transaction.atomic(using=tenancy.connection().alias):
        apply_document(definition.document())
        definition.afterwards()


def _named_by_option(problem: str, options_by_entry: Mapping[tuple[str, str], str]) -> str:
    """The problem with the option's name in place of the path in the document."""
    for (section, name), option in options_by_entry.items():
        path = re.escape(Part({}, section).path_below(name))
        found = re.match(rf"{path}(?P<below>[^:]*): ", problem)
        if found:
            below = option or re.sub(r"^\.(versions\.\d+\.?)?", "", found["below"])
            return f"{below or 'name'}: {problem[found.end() :]}"
    return problem


def name_of(value: Any, row_type: type[TenantRow]) -> Any:
    """The name of a row of the active tenant; other values as they are. Raises WrongTenant."""
    if not isinstance(value, row_type):
        return value
    value.require_same_tenant()
    return str(value)


def checked_items(value: Any, option: str, problems: list[str]) -> Iterator[tuple[int, Any]]:
    """The items of a list with their positions. Reports another value."""
    if isinstance(value, (list, tuple)):
        yield from enumerate(value)
    else:
        problems.append(f"{option}: must be a list. This value is {argument_checks.type_of(value)}.")
