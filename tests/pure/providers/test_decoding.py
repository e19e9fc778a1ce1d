"""Bodies of answers are decoded within bounds, piece by piece."""

import gzip
import random
import tracemalloc
import zlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zango_ai.exceptions import LLMAPIError
from zango_ai.providers import calls, http_exchange, response_decoder
from zango_ai.providers.response_decoder import Decoder, UnreadableResponse
from zango_ai.testing import Reply
from zango_ai.types import LLMMessage, ModelRequest, ProviderSpec

MIB = 1024 * 1024


def decoded(encoding, pieces, max_bytes=MIB, **bounds):
    decoder = Decoder(encoding, max_bytes, **bounds)
    content = b"".join(part for piece in pieces for part in decoder.decode(piece))
    decoder.finish()
    return content


def in_pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.binary(max_size=2000), st.integers(1, 700), st.sampled_from(["gzip", "x-gzip", "GZIP ", "", "identity"]))
def test_what_was_encoded_comes_out_however_it_is_cut(content, size, encoding):
    sent = gzip.compress(content) if "gzip" in encoding.lower() else content
    assert decoded(encoding, in_pieces(sent, size)) == content


def test_members_that_follow_each_other_are_one_body():
    sent = gzip.compress(b"one ") + gzip.compress(b"two")
    for size in (1, 7, 1000):
        assert decoded("gzip", in_pieces(sent, size)) == b"one two"


def test_each_event_of_a_stream_comes_out_as_soon_as_it_is_there():
    packer, decoder = zlib.compressobj(wbits=31), Decoder("gzip", MIB)
    for event in (b"data: one\n\n", b"data: two\n\n"):
        sent = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decoder.decode(sent)) == event


@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_no_more_is_decoded_than_the_bound_and_a_piece(kind):
    content = bytes(16 * MIB) if kind == "zeros" else random.Random(1).randbytes(3 * MIB)
    pieces = in_pieces(gzip.compress(content, compresslevel=1), 65536)
    decoder, received = Decoder("gzip", MIB), 0
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableResponse, match="more than 1048576 bytes"):
            for part in (part for piece in pieces for part in decoder.decode(piece)):
                received += len(part)
                assert len(part) <= 65536
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert received <= MIB
    assert peak < MIB


def test_compressed_data_that_holds_nothing_is_bounded_too():
    packer = zlib.compressobj(wbits=31)
    empty_blocks = b"".join(packer.flush(zlib.Z_FULL_FLUSH) or packer.compress(b"") for _ in range(10))
    with pytest.raises(UnreadableResponse, match="bytes"):
        decoded("gzip", [gzip.compress(b"")] * 100, max_bytes=1000)
    assert decoded("gzip", [empty_blocks + packer.flush()]) == b""


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip,gzip,gzip", "deflate", "br", "zstd", "gzip, identity"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding):
    with pytest.raises(UnreadableResponse, match="Content-Encoding"):
        Decoder(encoding, MIB)


def test_the_number_of_pieces_is_bounded():
    assert decoded("", [b"x"] * 10, max_pieces=10) == b"x" * 10
    with pytest.raises(UnreadableResponse, match="10 pieces"):
        decoded("", [b"x"] * 11, max_pieces=10)


@pytest.mark.parametrize(
    "sent",
    [gzip.compress(b"x" * 1000)[:-9], b"no gzip", gzip.compress(b"x") + b"rest"],
    ids=["cut", "not gzip", "followed by more"],
)
def test_a_body_that_is_cut_or_damaged_is_a_read_error(sent):
    with pytest.raises(httpx.ReadError):
        decoded("gzip", [sent])


def test_no_body_needs_no_end():
    assert decoded("gzip", []) == b""


# On the wire


def ask(model):
    credentials = {"api_key": "sk-test", "api_base": model.openai_base}
    provider = ProviderSpec(1, "main", "openai", credentials, "", True)
    return calls.prepare(provider, ModelRequest("gpt-4o-mini", (LLMMessage("user", "hi"),), 1.0, 100, 120.0)).send()


@pytest.mark.parametrize(("layers", "words"), [(1, "more than 1048576 bytes"), (3, "only gzip is supported")])
def test_a_compressed_answer_is_not_unpacked_beyond_the_bound(model, monkeypatch, layers, words):
    monkeypatch.setattr(http_exchange, "MAX_ANSWER_BYTES", MIB)
    content = b'{"choices": [' + b" " * (8 * MIB)
    for _ in range(layers):
        content = gzip.compress(content)
    model.script(Reply(raw=content, headers={"Content-Encoding": ", ".join(["gzip"] * layers)}))
    with pytest.raises(LLMAPIError, match=words) as caught:
        ask(model)
    assert (caught.value.status_code, caught.value.is_retryable) == (200, False)


def test_gzip_is_asked_for_and_read(model):
    import json

    answer = {"model": "m", "choices": [{"message": {"role": "assistant", "content": "packed"}}]}
    model.script(Reply(raw=gzip.compress(json.dumps(answer).encode()), headers={"Content-Encoding": "gzip"}))
    assert ask(model).content == "packed"
    assert model.requests[0].headers["accept-encoding"] == response_decoder.ACCEPTED == "gzip"


def test_an_answer_in_single_bytes_is_given_up(model, monkeypatch):
    monkeypatch.setattr(response_decoder, "MAX_PIECES", 100)
    chunks = b"".join(b"1\r\nx\r\n" for _ in range(5000)) + b"0\r\n\r\n"
    model.script(Reply(raw=chunks, headers={"Transfer-Encoding": "chunked"}))
    with pytest.raises(LLMAPIError, match="pieces"):
        ask(model)


@pytest.mark.parametrize("count", [201, 30_000])
def test_an_answer_with_very_many_headers_is_refused(model, count):
    model.script(Reply(headers={f"x-{number}": "y" for number in range(count)}))
    with pytest.raises(LLMAPIError):
        ask(model)


def test_of_a_long_error_the_beginning_is_read_and_its_status_kept(model):
    model.script(Reply("words of the vendor " + "x" * 2 * MIB, status=503))
    with pytest.raises(LLMAPIError) as caught:
        ask(model)
    assert caught.value.status_code == 503
    assert caught.value.is_retryable
    assert len(str(caught.value.original_error)) < 2 * http_exchange.MAX_ERROR_BYTES
