"""Encrypted credentials: the keys, the cipher, the value and the model field."""
