"""JSON Schema, draft 2020-12: check a tenant's schema when it is saved, and validate a model's answer against it.

===================  ================================================================================
``schema_problems``  why a schema cannot be used
``validation``       validate an answer
``answer_errors``    which parts of an invalid answer are wrong, and why
``subschemas``       the parts of a schema, and its references
``patterns``         patterns and formats, matched in linear time
``cost``             an upper bound of the time that validation takes
===================  ================================================================================

Both take bounded time for any schema and any answer: patterns run on a linear-time engine, references expand to a
limited number of subschemas, and ``cost`` estimates the work before an answer is validated.
"""

from .answer_errors import describe_errors
from .patterns import without_unsupported as without_unsupported_patterns
from .schema_problems import json_path, problem_of
from .validation import validate, validate_answer

__all__ = [
    "describe_errors",
    "json_path",
    "problem_of",
    "validate",
    "validate_answer",
    "without_unsupported_patterns",
]
