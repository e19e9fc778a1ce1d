"""The turns of a conversation with a model, without a database and without a network."""
