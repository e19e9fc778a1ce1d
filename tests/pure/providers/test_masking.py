"""Credentials are masked in every usual spelling, and nothing else of a text is touched."""

import base64
import html
import json
import pickle
import random
import string
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zango_ai.providers.masking import MASK, Mask

KEY = 'sk-of/this+tenant=&"key"<\'1>'

SPELLINGS = {
    "plain": KEY,
    "JSON": json.dumps(KEY)[1:-1],
    "JSON as PHP writes it": json.dumps(KEY)[1:-1].replace("/", "\\/"),
    "JSON in JSON": json.dumps(json.dumps(KEY))[3:-3],
    "JSON as PHP writes it in JSON": json.dumps(json.dumps(KEY).replace("/", "\\/"))[3:-3],
    "JSON as Go writes it": KEY.replace("&", "\\u0026").replace("<", "\\u003c").replace('"', '\\"'),
    "every character as \\u00xx": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "every character as \\u00XX": "".join(f"\\u{ord(c):04X}" for c in KEY),
    "every character as \\\\u00xx": "".join(f"\\\\u{ord(c):04x}" for c in KEY),
    "every character as \\xhh": "".join(f"\\x{ord(c):02x}" for c in KEY),
    "URL": quote(KEY, safe=""),
    "URL path": quote(KEY),
    "form": quote_plus(KEY),
    "URL in lower case": quote(KEY, safe="").replace("%2F", "%2f").replace("%3D", "%3d").replace("%2B", "%2b"),
    "every character as %hh": "".join(f"%{ord(c):02x}" for c in KEY),
    "URL in URL": quote(quote(KEY, safe=""), safe=""),
    "HTML": html.escape(KEY),
    "HTML with decimal references": html.escape(KEY).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "HTML with padded references": html.escape(KEY).replace("&#x27;", "&#039;"),
    "HTML with names": html.escape(KEY).replace("/", "&sol;").replace("+", "&plus;").replace("=", "&equals;"),
    "HTML in HTML": html.escape(html.escape(KEY)),
    "every character as &#n;": "".join(f"&#{ord(c)};" for c in KEY),
    "every character as &#xh;": "".join(f"&#x{ord(c):X};" for c in KEY),
    "hex": KEY.encode().hex(),
    "HEX": KEY.encode().hex().upper(),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 without padding": base64.b64encode(KEY.encode()).decode().rstrip("="),
    "base64 for URLs": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "base64 in a URL": quote(base64.b64encode(KEY.encode()).decode(), safe=""),
    "base64 as PHP writes it": base64.b64encode(KEY.encode()).decode().replace("/", "\\/"),
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_a_credential_is_masked_in_any_spelling_and_the_text_around_it_stays(spelled):
    before, after = 'Wrong key: \\u00e9 \\n<b>"', '"</b> &amp; %20 \\/ fin'
    masked = Mask([KEY]).apply(before + spelled + after)
    assert masked.startswith(before + MASK)
    assert masked.endswith(after)
    assert masked[len(before + MASK) : -len(after)] in {"", "=", "==", "%3D", "%3D%3D"}  # padding of base64


@pytest.mark.parametrize(
    "around", [("Bearer ", ""), ("Basic u:", "\n"), ("", ":x"), ("a", "bc"), ("user:", "@host")]
)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_of_a_text_with_the_credential_in_it_gives_no_part_of_it_away(around, encode):
    coded = encode((around[0] + KEY + around[1]).encode()).decode()
    masked = Mask([KEY]).apply(f"token {coded}.")
    before, mask, after = masked.partition(MASK)
    assert mask
    assert before.startswith("token ")
    assert after.endswith(".")
    # Beside the mask are only the characters that also hold bits of what is around the credential.
    assert len(before + after) <= len("token .") + 4 * len("".join(around)) // 3 + 2 + coded.count("=")


def test_a_whole_header_echoed_in_hex_is_masked_where_the_credential_is():
    coded = f"Bearer {KEY}".encode().hex()
    assert Mask([KEY]).apply(coded) == b"Bearer ".hex() + MASK


UNTOUCHED = [
    "ACGT" * 100,
    base64.b64encode(random.Random(1).randbytes(3000)).decode(),
    "9" * 500,
    "/very/long/path" * 40,
    r"C:\users\new \u00e9 é &amp;amp; %2F %252f \/ \\/",
    json.dumps({"a": "é\n\t\"'/", "b": ["\ud83d\ude00", "</script>"]}),
    "sk-of/this+tenant",
    "\x00\ud800 ",
]


@pytest.mark.parametrize("text", UNTOUCHED)
def test_a_text_without_the_credential_stays_as_it_is_to_the_letter(text):
    assert Mask([KEY]).apply(text) == text
    assert Mask([KEY]).apply(f"{text}{KEY}{text}") == f"{text}{MASK}{text}"
    assert Mask([]).apply(text) == text


def test_of_two_credentials_that_begin_alike_the_longer_is_taken():
    mask = Mask(["sk-abcdefgh", "sk-abcdefgh-long-one"])
    assert mask.apply("sk-abcdefgh-long-one sk-abcdefgh-long") == f"{MASK} {MASK}-long"


def test_a_short_value_is_looked_for_as_it_stands_and_not_in_hex_or_base64():
    assert Mask(["abc"]).apply("616263 YWJj abc") == f"616263 YWJj {MASK}"


def test_a_mask_can_leave_short_values_alone():
    assert Mask(["a", "none", KEY], shortest=8).apply(f"a none {KEY}") == f"a none {MASK}"


def test_blank_values_mask_nothing():
    assert Mask(["", "  "]).apply("a  b") == "a  b"


def test_a_mask_shows_no_credential():
    mask = Mask([KEY])
    stream = mask.stream()
    stream.feed(KEY[:5])
    for shown in (repr(mask), str(mask), repr(stream), f"{mask}"):
        assert KEY[:5] not in shown
    for each in (mask, stream):
        with pytest.raises(TypeError):
            vars(each)
        with pytest.raises(TypeError):
            pickle.dumps(each)


def test_a_key_as_long_as_a_session_token_is_masked():
    token = base64.b64encode(random.Random(2).randbytes(1500)).decode()
    spelled = token.replace("/", "\\/")
    assert Mask([token]).apply(f"<{spelled}>") == f"<{MASK}>"


@pytest.mark.parametrize("key", ["a" * 2000 + "b", "ab" * 1000, "\\" * 500 + "x", "%25" * 300, "&amp;" * 300 + "x"])
@pytest.mark.parametrize("text", ["a", "ab", "\\", "%25", "&amp;", "\\u005c", "\\\\"])
def test_no_key_and_no_text_of_a_hostile_server_takes_long(key, text):
    """A search that tries the key at each place, or escapes in each combination, does not end here."""
    mask = Mask([key])
    assert isinstance(mask.apply(text * (400_000 // len(text))), str)


# -- in pieces

PIECES = st.lists(
    st.one_of(st.sampled_from([*SPELLINGS.values(), KEY[:9], KEY[3:], "s", "\\", "&", "%2", "c2st"]), st.text()),
    max_size=6,
).map("".join)


@settings(deadline=None)
@given(PIECES, st.lists(st.integers(0, 300), max_size=8))
def test_any_split_of_a_text_gives_what_the_whole_gives(text, cuts):
    mask = Mask([KEY, "another-credential"])
    stream, places = mask.stream(), sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    given = [stream.feed(text[start:end]) for start, end in pairwise(places)]
    assert "".join([*given, stream.finish()]) == mask.apply(text)


@settings(deadline=None)
@given(PIECES)
def test_letter_by_letter_gives_what_the_whole_gives(text):
    mask = Mask([KEY])
    stream = mask.stream()
    assert "".join([*map(stream.feed, text), stream.finish()]) == mask.apply(text)


@given(st.text(alphabet=st.characters(exclude_characters="s\\&%7" + string.ascii_letters), min_size=1))
def test_a_chunk_that_cannot_begin_a_credential_comes_out_at_once(chunk):
    stream = Mask([KEY]).stream()
    assert stream.feed(chunk) == chunk
    assert stream.finish() == ""


def test_only_what_could_begin_a_credential_is_held_back():
    stream = Mask([KEY]).stream()
    assert stream.feed("Ask: sk") == "Ask: "
    assert stream.feed("i") == "ski"
    assert stream.feed(" " + KEY[:-1]) == " "
    assert stream.feed(KEY[-1] + " ok.") == f"{MASK} ok."
    assert stream.finish() == ""


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_no_more_is_held_back_than_the_longest_spelling(spelled):
    mask = Mask([KEY])
    assert len(spelled) <= mask.longest
    for cut in range(len(spelled)):
        stream = mask.stream()
        given = stream.feed("? " * 500 + spelled[:cut])
        assert given.startswith("? " * 500)
        assert given + stream.finish() == "? " * 500 + mask.apply(spelled[:cut])


def test_a_finished_stream_starts_anew():
    stream = Mask([KEY]).stream()
    stream.feed(KEY[:4])
    assert stream.finish() == KEY[:4]
    assert stream.feed(KEY[4:] + "!") + stream.finish() == KEY[4:] + "!"
