"""One run of an agent, from question to response."""
