"""Read an answer as JSON, check it against a schema, and turn it into the caller's type."""
