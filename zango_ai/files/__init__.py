"""Files that are sent with a question."""
