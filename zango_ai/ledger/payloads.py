"""What the log stores of a request: short items in the round's row, long ones once for all rounds.

A conversation sends its history again with each request. The log stores each message once, as a ``Payload``, and a
round refers to it by its digest. In a long list, most messages are in blocks, and the round refers to the blocks.
"""

from __future__ import annotations

import hashlib
import itertools
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from .. import sanitize

_MAX_INLINE_CHARS = 60
"""A reference takes about as much space as so short an item."""
_MIN_LIST_OF_BLOCKS = 200
_MIN_BLOCK = 8
_BLOCK_MASK = 31
"""A message whose digest ends with five zero bits ends a block: one of 32 on average.

The messages themselves set the boundaries, so a list that grows at its end, and loses messages at its beginning,
keeps all other blocks.
"""


@dataclass(slots=True)
class RequestPayloads:
    """The payloads of one request of one user."""

    user_ref: str
    contents: dict[str, bytes] = field(default_factory=dict)
    """The JSON of each payload, by its digest as text."""

    @property
    def owner(self) -> int | None:
        """See ``Payload.owner``."""
        return owner_of(self.user_ref)

    def messages(self, items: Sequence[Mapping[str, Any]], *, is_newest_inline: bool) -> str:
        """The JSON for ``InvocationRound.request_messages``.

        ``is_newest_inline`` stores the last message in the row, because no later request is expected to repeat it.
        """
        encoded = list(map(sanitize.document, items))
        chars = sum(map(len, encoded))
        if chars > sanitize.MAX_JSON_CHARS:
            return sanitize.too_long(chars)
        newest = [encoded.pop()] if is_newest_inline and encoded else []
        split = self._blocks(encoded) if len(encoded) >= _MIN_LIST_OF_BLOCKS else map(self._item, encoded)
        return _json_list([*split, *newest])

    def tools(self, items: Sequence[Mapping[str, Any]]) -> str:
        """The JSON for ``InvocationRound.request_tools``."""
        encoded = sanitize.document(items)
        return f"[{self._reference(encoded)}]" if encoded.startswith("[{") else encoded

    def _item(self, encoded: str) -> str:
        return encoded if len(encoded) <= _MAX_INLINE_CHARS else self._reference(encoded)

    def _reference(self, encoded: str) -> str:
        digest = self._digest(encoded)
        self.contents[str(UUID(bytes=digest))] = encoded.encode()
        return f'"{b64encode(digest)[:22].decode()}"'

    def _digest(self, encoded: str) -> bytes:
        salted = f"{len(self.user_ref)}:{self.user_ref}{encoded}"
        return hashlib.blake2b(salted.encode(), digest_size=16).digest()

    def _blocks(self, encoded: Sequence[str]) -> Iterator[str]:
        """The items, with a reference for each block. The first and the last block change with each request."""
        ends = [n for n, item in enumerate(encoded, start=1) if not self._digest(item)[-1] & _BLOCK_MASK]
        bounds = [0, *ends, len(encoded)]
        for start, end in itertools.pairwise(bounds):
            block = encoded[start:end]
            if start in ends and end in ends and len(block) >= _MIN_BLOCK:
                yield self._reference(_json_list(block))
            else:
                yield from map(self._item, block)


def owner_of(user_ref: str) -> int | None:
    """A hash of the user that fits ``Payload.owner``; None without a user."""
    if not user_ref:
        return None
    return int.from_bytes(hashlib.blake2b(user_ref.encode(), digest_size=8).digest(), signed=True)


def parameters(payloads: RequestPayloads, now: datetime) -> dict[str, Any]:
    """The parameters of ``sql.payloads.write_payloads()``.

    The contents are one value: psycopg takes 40 ms to escape the items of a list of 600 KB.
    """
    contents = payloads.contents.values()
    sizes = list(map(len, contents))
    return {
        "payload_digests": list(payloads.contents),
        "payload_contents": b"".join(contents),
        "payload_sizes": sizes,
        "payload_starts": list(itertools.accumulate(sizes[:-1], initial=1)) if sizes else [],
        "payload_owner": payloads.owner,
        "payload_day": now.date(),
    }


def _json_list(encoded: Sequence[str]) -> str:
    return f"[{','.join(encoded)}]"
