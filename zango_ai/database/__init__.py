"""The ledger's database connection, and the functions that build and execute its SQL."""
