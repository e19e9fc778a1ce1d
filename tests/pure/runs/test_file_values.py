"""Files, before anything is done with them."""

import base64
import contextlib
import hashlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import GIF, JPEG, PDF, PNG, WEBP
from zango_ai import LLMFile
from zango_ai.exceptions import LLMFileError
from zango_ai.files.media_types import sniff


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp"), (PDF, "application/pdf")],
)
def test_an_image_or_pdf_is_known_by_its_content(content, media_type):
    file = LLMFile.from_bytes(content, media_type)
    assert (file.data, file.size, file.media_type) == (content, len(content), media_type)
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert file.filename.startswith("file.")


@pytest.mark.parametrize(
    ("content", "media_type", "words"),
    [
        (b"hello", "application/pdf", "has the type application/pdf, but its content is not"),
        (b"<html>", "image/png", "but its content is not"),
        (JPEG, "image/png", "its content is image/jpeg. Pass that as media_type"),
        (PDF, "image/png", "its content is application/pdf"),
    ],
)
def test_what_a_caller_declares_is_held_against_the_content(content, media_type, words):
    file = LLMFile.from_bytes(content, media_type, "scan.x")
    with pytest.raises(LLMFileError, match=r"scan\.x") as caught:
        file.load()
    assert words in str(caught.value)
    assert caught.value.filename == "scan.x"


def test_what_only_a_name_says_gives_way_to_the_content(tmp_path):
    (tmp_path / "photo.png").write_bytes(JPEG)
    file = LLMFile.from_path(tmp_path / "photo.png")
    assert (file.data, file.media_type, file.filename) == (JPEG, "image/jpeg", "photo.png")
    (tmp_path / "nameless").write_bytes(PDF)
    file = LLMFile.from_path(str(tmp_path / "nameless"))
    file.load()
    assert file.media_type == "application/pdf"
    (tmp_path / "page.pdf").write_bytes(b"<html>")
    with pytest.raises(LLMFileError, match="misnamed"):
        LLMFile.from_path(tmp_path / "page.pdf").load()


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.csv", "text/csv"),
        ("a.md", "text/markdown"),
        ("a.json", "application/json"),
        ("A.TXT", "text/plain"),
        ("a.xml", None),
    ],
)
def test_text_is_known_by_its_name(tmp_path, name, media_type):
    (tmp_path / name).write_text("a,b")
    file = LLMFile.from_path(tmp_path / name)
    assert file.is_text
    assert media_type in {None, file.media_type}


def test_an_svg_is_no_image_that_a_model_takes_and_no_text():
    assert not LLMFile.from_bytes(b"<svg/>", "image/svg+xml").is_text


@pytest.mark.parametrize("media_type", ["text/csv; charset=utf-8", "TEXT/CSV", " text/csv"])
def test_a_media_type_is_taken_without_its_parameters(media_type):
    assert LLMFile.from_bytes(b"a", media_type).media_type == "text/csv"


def test_nothing_is_read_and_nothing_raised_before_it_is_needed(tmp_path):
    for file in (
        LLMFile.from_path(tmp_path / "gone.txt"),
        LLMFile.from_bytes(b"", "text/plain"),
        LLMFile.from_url("ftp://example.com/a.png"),
        LLMFile.from_django_file(None),
    ):
        with pytest.raises(LLMFileError):
            file.load()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https:///a.png", "not valid"),
        ("file:///etc/passwd", "'file'"),
        ("data:image/png;base64,AAAA", "'data'"),
        ("ftp://example.com/a.png", "'ftp'"),
        ("a.png", "''"),
        ("https://user:secret-word@example.com/a.png", "user name or password"),
        ("https://example.com/a b.png", "not valid"),
        ("https://example.com/" + "a" * 9000, "too long"),
        ("https://[::1/a.png", "is not a valid URL"),
    ],
)
def test_a_url_that_no_provider_should_fetch_is_refused_and_not_shown(url, words):
    with pytest.raises(LLMFileError) as caught:
        LLMFile.from_url(url).load()
    assert words in str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_a_url_has_the_name_and_type_of_its_path():
    file = LLMFile.from_url("https://cdn.example.com/shop/red%20shoe.jpg?size=2")
    assert (file.filename, file.media_type, file.url) == (
        "red shoe.jpg",
        "image/jpeg",
        "https://cdn.example.com/shop/red%20shoe.jpg?size=2",
    )
    assert (file.data, file.size, file.sha256) == (None, None, "")


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\temp\\passwd", "/passwd"])
def test_folders_are_no_part_of_a_name(name):
    assert LLMFile.from_bytes(b"a", "text/plain", name).filename == "passwd"


def test_a_file_that_is_too_large_is_read_no_further_than_to_see_that(tmp_path):
    read = []

    class Endless(io.RawIOBase):
        name = "endless.txt"

        def read(self, size=-1):
            read.append(size)
            return b"x" * size

        def seek(self, position, whence=0):
            return position

        def tell(self):
            return 0

    with pytest.raises(LLMFileError, match="larger than 1000 bytes"):
        LLMFile.from_django_file(Endless()).load(1000)
    assert read == [1001]
    kept = LLMFile.from_bytes(b"x" * 1001, "text/plain")
    kept.load()
    with pytest.raises(LLMFileError, match="MAX_FILE_BYTES"):
        kept.load(1000)


def test_a_repr_shows_no_content():
    assert repr(LLMFile.from_bytes(b"secret", "text/plain", "a.txt")) == "<LLMFile 'a.txt' text/plain>"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Größe;€ 5\n".encode(), "Größe;€ 5\n"),
        ("\ufeffGröße".encode(), "Größe"),
        ("Größe; 5 €".encode("cp1252"), "Größe; 5 €"),
        ("Größe".encode("utf-16"), "Größe"),
        ("Größe".encode("utf-32"), "Größe"),
        (b'say "hi"\\n\t\x07', 'say "hi"\\n\t\x07'),
    ],
)
def test_text_is_read_in_the_encoding_that_it_has(content, text):
    assert json.loads(b'"' + b"".join(LLMFile.from_bytes(content, "text/plain").encoded()) + b'"') == text


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_any_text_arrives_as_it_was(text):
    content = text.encode("utf-8", "replace")
    decoded = content.decode("utf-8-sig")
    assert json.loads(b'"' + b"".join(LLMFile.from_bytes(content, "text/plain").encoded()) + b'"') == decoded


@given(st.binary(min_size=1).filter(lambda content: sniff(content) is None))
def test_any_bytes_are_sent_as_base64(content):
    file = LLMFile.from_bytes(content, "application/zip")
    assert base64.b64decode(b"".join(file.encoded()), validate=True) == content
    assert file.encoded() is file.encoded()  # made once


def test_text_that_is_none_is_refused():
    with pytest.raises(LLMFileError, match="zero bytes"):
        LLMFile.from_bytes(b"PK\x03\x04\x00\x00", "text/csv", "sheet.csv").load()


@pytest.mark.parametrize("wrong", ["text", 5, None])
def test_bytes_are_bytes(wrong):
    with pytest.raises(TypeError, match="pass bytes"):
        LLMFile.from_bytes(wrong, "text/plain")


def test_a_url_is_text():
    with pytest.raises(TypeError, match="pass the URL as a str"):
        LLMFile.from_url(None)


def test_a_file_opened_as_text_is_taken_as_utf_8():
    class Upload(io.StringIO):
        name = "a.txt"

    assert LLMFile.from_django_file(Upload("Größe")).data == "Größe".encode()


def test_the_encoding_that_an_upload_names_is_used():
    russian = LLMFile.from_bytes("Привет".encode("cp1251"), "text/plain; charset=windows-1251")
    assert b"".join(russian.encoded()).decode() == "Привет"
    unknown = LLMFile.from_bytes(b"hi", "text/plain; charset=klingon")
    assert unknown.encoded() == [b"hi"]


def test_a_file_that_gives_less_than_it_is_asked_for_is_read_to_its_end():
    class Trickle(io.BytesIO):
        name = "a.txt"

        def read(self, size=-1):
            return super().read(7 if size < 0 or size > 7 else size)

    content = b"0123456789" * 100
    for most in (None, 5000):
        file = LLMFile.from_django_file(Trickle(content))
        file.load(most)
        assert file.data == content
    with pytest.raises(LLMFileError, match="larger"):
        LLMFile.from_django_file(Trickle(content)).load(999)


@pytest.mark.parametrize("content", [PDF, PNG])
def test_an_image_or_pdf_that_is_called_text_is_not_sent_as_text(content):
    """Django's upload is text/plain where a test names nothing else."""
    upload = io.BytesIO(content)
    upload.name, upload.content_type = "scan", "text/plain"
    file = LLMFile.from_django_file(upload)
    file.load()
    assert not file.is_text
    with pytest.raises(LLMFileError, match="has the type text/plain"):
        LLMFile.from_bytes(content, "text/plain").load()


def test_an_archive_with_a_pdf_in_it_is_no_pdf():
    assert LLMFile.from_path.__self__ is LLMFile
    upload = io.BytesIO(b"PK\x03\x04" + PDF)
    upload.name = "reports.zip"
    file = LLMFile.from_django_file(upload)
    file.load()
    assert file.media_type == "application/zip"
    LLMFile.from_bytes(b"\r\n" + PDF, "application/pdf").load()  # readers take what comes before it


@pytest.mark.parametrize(
    ("name", "declared", "media_type"),
    [
        ("table.csv", "application/vnd.ms-excel", "text/csv"),
        ("book.xlsx", "", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("rows.jsonl", "", "application/jsonl"),
        ("table.csv.gz", "", ""),
    ],
)
def test_what_browsers_and_systems_call_otherwise_is_known_by_its_suffix(name, declared, media_type):
    upload = io.BytesIO(b"a,b")
    upload.name, upload.content_type = name, declared
    file = LLMFile.from_django_file(upload)
    file.load()
    assert file.media_type == media_type


@pytest.mark.parametrize("url", ["data:text/plain;base64,AAAA/secret-word", "https:user:secret-word@example.com"])
def test_nothing_of_a_url_that_is_none_becomes_a_name(url):
    assert LLMFile.from_url(url).filename == "file"


def test_odd_names_raise_nothing():
    import tempfile

    with tempfile.TemporaryFile() as nameless:  # its name is a number
        nameless.write(b"hi")
        file = LLMFile.from_django_file(nameless)
        assert (file.filename, file.data) == ("file", b"hi")
    assert LLMFile.from_bytes(b"hi", None).media_type == ""


def test_a_test_case_may_copy_one():
    import copy

    file = LLMFile.from_bytes(b"hi", "text/plain")
    assert copy.deepcopy(file) is copy.copy(file) is file


@pytest.mark.parametrize("charset", ["zlib", "hex", "base64", "rot13", "idna", "undefined", "bz2", "uu"])
def test_a_charset_that_is_no_encoding_of_text_is_refused(charset):
    file = LLMFile.from_bytes(b"hi", f"text/plain; charset={charset}", "a.txt")
    with pytest.raises(LLMFileError, match="not a text encoding") as caught:
        file.load()
    assert caught.value.filename == "a.txt"


def test_whatever_charset_is_named_the_text_is_encoded_or_refused():
    import encodings.aliases

    for charset in sorted(
        {*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "punycode", "\0", "x" * 999}
    ):
        file = LLMFile.from_bytes(b"caf\xe9 123", f"text/plain; charset={charset}", "a.txt")
        with contextlib.suppress(LLMFileError):
            assert file.encoded()


def test_a_path_without_a_suffix_is_given_its_type_and_name(tmp_path):
    path = tmp_path / "hostname"
    path.write_text("north")
    file = LLMFile.from_path(path, media_type="text/plain")
    assert (file.filename, file.media_type, file.data) == ("hostname", "text/plain", b"north")
    assert LLMFile.from_path(path, filename="host.txt").media_type == "text/plain"
