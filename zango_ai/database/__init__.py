"""The ledger's own connection, and how statements are executed on it."""
