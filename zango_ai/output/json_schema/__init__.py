"""JSON Schema, draft 2020-12: check a tenant's schema when it is saved, and a model's answer against it.

Both take bounded time, whatever the schema and the answer are. Patterns run on a linear-time engine, references
expand to a limited number of subschemas, and ``cost.py`` estimates the work before an answer is checked.
"""

from .fitting import fitted
from .patterns import without_unsupported as without_unsupported_patterns
from .problems import json_path, problem_of
from .validation import validate
from .wording import in_words

__all__ = ["fitted", "in_words", "json_path", "problem_of", "validate", "without_unsupported_patterns"]
