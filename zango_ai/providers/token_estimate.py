"""An upper estimate of a prompt's tokens, without the model's own tokenizer.

Two ASCII letters count as one token. Every other byte counts as one token, and so does every letter in a run of 40
or more characters without a space, such as base64 or DNA. For prose, this is more than twice what the tokenizers of
gpt-4o, gpt-3.5-turbo and Claude count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NON_LETTERS = bytes(set(range(256)) - set(_LETTERS))
_LONG_WORD = re.compile(rb"[A-Za-z0-9+/=_-]{40,}")
_CHUNK_BYTES = 1024 * 1024
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_REQUEST = 16


def estimate_prompt_tokens(texts: Iterable[str]) -> int:
    """The tokens of a request with these texts, with its overhead per message and per request."""
    tokens = (_TOKENS_PER_MESSAGE + estimate_text_tokens(text.encode("utf-8", "replace")) for text in texts)
    return _TOKENS_PER_REQUEST + sum(tokens)


def estimate_text_tokens(encoded: bytes) -> int:
    """The tokens of one UTF-8 text, without overhead."""
    chunks = (encoded[start : start + _CHUNK_BYTES] for start in range(0, len(encoded), _CHUNK_BYTES))
    return sum(map(_estimate_chunk, chunks))


def _estimate_chunk(encoded: bytes) -> int:
    non_letters = len(encoded.translate(None, _LETTERS))
    in_long_words = sum(len(word[0].translate(None, _NON_LETTERS)) for word in _LONG_WORD.finditer(encoded))
    return non_letters + in_long_words + math.ceil((len(encoded) - non_letters - in_long_words) / 2)
