"""Conversations: what is stored of them, and which part is sent again."""
