"""Files that are sent along with a question."""
