"""Files that go along with a question: what is sent, what is refused, what is kept."""

import base64
import json
from io import BytesIO

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import models
from django.db.models.fields.files import FieldFile

from tests.build import make_agent, make_priced_agent, make_prompt, make_provider
from tests.children import child, said
from tests.samples import JPEG, PDF, PNG, pdf
from tests.schemas import add_domains, schema_context
from tests.together import run_together
from zango_ai import LLMFile, LLMMessage, get_agent
from zango_ai.exceptions import BudgetExceeded, InputRequired, LLMAPIError, LLMFileError, ModelNotAvailable
from zango_ai.models import Fallback, Invocation, InvocationFile, InvocationRound, ProviderModel
from zango_ai.testing import Reply

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings.MEDIA_ROOT


def png(name="scan.png"):
    return LLMFile.from_bytes(PNG, "image/png", name)


def a_pdf(text="a", name="report.pdf"):
    return LLMFile.from_bytes(pdf(text), "application/pdf", name)


def csv(text='a,b\n1,"2"\n', name="table.csv"):
    return LLMFile.from_bytes(text.encode(), "text/csv", name)


def ask(model, *files, kind="openai", **question):
    """Run an agent of that kind; the parts of the user's last message, as they were sent."""
    make_agent(model, provider=make_provider(model, kind=kind))
    get_agent("helper").run(**(question or {"input": "What is this?"}), files=files)
    body = model.requests[-1].body
    message = (body.get("messages") or body.get("contents"))[-1]
    return message.get("content") or message["parts"]


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


# What is sent


@pytest.mark.parametrize("kind", ["openai", "openai_compatible"])
def test_openai_is_sent_images_and_documents_as_data_urls(model, north, kind):
    assert ask(model, png(), a_pdf(), kind=kind) == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(PNG)}"}},
        {
            "type": "file",
            "file": {"file_data": f"data:application/pdf;base64,{b64(pdf('a'))}", "filename": "report.pdf"},
        },
        {"type": "text", "text": "What is this?"},
    ]


def test_anthropic_is_sent_images_and_documents(model, north):
    assert ask(model, png(), a_pdf(), kind="anthropic") == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(PNG)}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": b64(pdf("a"))},
            "title": "report.pdf",
        },
        {"type": "text", "text": "What is this?"},
    ]


def test_gemini_is_sent_images_and_documents_inline(model, north):
    assert ask(model, png(), a_pdf(), kind="gemini") == [
        {"inline_data": {"mime_type": "image/png", "data": b64(PNG)}},
        {"inline_data": {"mime_type": "application/pdf", "data": b64(pdf("a"))}},
        {"text": "What is this?"},
    ]


def test_bedrock_is_sent_images_and_documents_of_offices(model, north):
    word = LLMFile.from_bytes(b"PK\x03\x04 a letter", DOCX, "letter.docx")
    image, document, letter, text = ask(model, png(), a_pdf(), word, kind="bedrock")
    assert image == {"image": {"format": "png", "source": {"bytes": b64(PNG)}}}
    assert (document["document"]["format"], letter["document"]["format"]) == ("pdf", "docx")
    assert (document["document"]["name"], letter["document"]["name"]) == ("report (2)", "letter (3)")
    assert document["document"]["source"] == {"bytes": b64(pdf("a"))}
    assert letter["document"]["source"] == {"bytes": b64(b"PK\x03\x04 a letter")}
    assert text == {"text": "What is this?"}


def test_a_request_to_bedrock_is_signed_over_what_is_sent(model, north):
    """The signature that the server would make of the body that it got."""
    import hashlib

    ask(model, png(), kind="bedrock")
    seen = model.requests[-1]
    assert seen.headers["x-amz-content-sha256"] == hashlib.sha256(seen.raw).hexdigest()
    assert "x-amz-content-sha256" in seen.headers["authorization"]


@pytest.mark.parametrize("kind", ["azure", "mistral", "groq", "ollama"])
def test_others_are_sent_images(model, north, kind):
    provider = make_provider(model, kind=kind, default_model="a-model-that-no-list-knows")
    make_agent(model, provider=provider)
    get_agent("helper").run("What is this?", files=[png()])
    image, text = model.requests[-1].body["messages"][-1]["content"]
    assert image["image_url"] == {"url": f"data:image/png;base64,{b64(PNG)}"}
    assert text == {"type": "text", "text": "What is this?"}


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini", "bedrock", "groq"])
def test_text_is_sent_as_text_under_its_name(model, north, kind):
    files = [csv(), LLMFile.from_bytes(b'{"a": "\\n"}', "application/json", "a.json")]
    table, document, question = ask(model, *files, kind=kind)
    assert table["text"] == 'File "table.csv":\n\na,b\n1,"2"\n\n\n'
    assert document["text"] == 'File "a.json":\n\n{"a": "\\n"}\n\n'
    assert question["text"] == "What is this?"


def test_where_a_vendor_takes_one_text_the_files_are_parts_of_it(model, north):
    assert ask(model, csv("a,b"), kind="mistral") == 'File "table.csv":\n\na,b\n\nWhat is this?'


def test_two_reports_arrive_both_and_in_order(model, north):
    first, second, _ = ask(model, a_pdf("January", "jan.pdf"), a_pdf("February", "feb.pdf"))
    assert (first["file"]["filename"], second["file"]["filename"]) == ("jan.pdf", "feb.pdf")
    assert b"% January" in base64.b64decode(first["file"]["file_data"].partition(",")[2])
    assert b"% February" in base64.b64decode(second["file"]["file_data"].partition(",")[2])


def test_a_file_may_be_sent_twice_and_to_several_runs(model, north):
    file = png()
    parts = ask(model, file, file)
    assert parts[0] == parts[1]
    get_agent("helper").run("again", files=[file])
    assert model.requests[-1].body["messages"][-1]["content"][0] == parts[0]


def test_files_go_along_with_a_rendered_prompt(model, north):
    make_agent(model, user_prompt=make_prompt("Read {{ what }}."), system_prompt=make_prompt("Be brief.", "system"))
    get_agent("helper").run(variables={"what": "this"}, files=[csv()])
    system, user = model.requests[-1].body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["text"] for part in user["content"]] == ['File "table.csv":\n\na,b\n1,"2"\n\n\n', "Read this."]


def test_files_go_to_the_last_message_of_the_user_and_change_nothing_of_the_callers(model, north):
    messages = [LLMMessage("user", "one"), LLMMessage("assistant", "two"), LLMMessage("user", "three")]
    given = [*messages, LLMMessage("assistant", "four")]
    files = [csv()]
    make_agent(model)
    get_agent("helper").run(messages=given, files=files)
    sent = model.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user", "assistant"]
    assert [sent[0]["content"], sent[1]["content"], sent[3]["content"]] == ["one", "two", "four"]
    assert [part["text"] for part in sent[2]["content"]][1:] == ["three"]
    assert given == [*messages, LLMMessage("assistant", "four")]
    assert len(files) == 1


def test_a_given_message_may_have_files_of_its_own(model, north):
    make_agent(model)
    first = LLMMessage("user", "one", files=(csv(name="one.csv"),))
    given = [first, LLMMessage("assistant", "two"), LLMMessage("user", "three")]
    get_agent("helper").run(messages=given, files=[csv(name="three.csv")])
    sent = model.requests[-1].body["messages"]
    assert "one.csv" in sent[0]["content"][0]["text"]
    assert "three.csv" in sent[2]["content"][0]["text"]
    assert list(InvocationFile.objects.values_list("filename", flat=True)) == ["one.csv", "three.csv"]


def test_files_need_a_message_of_the_user(model, north):
    make_agent(model)
    with pytest.raises(InputRequired, match="no user message"):
        get_agent("helper").run(messages=[LLMMessage("assistant", "hi")], files=[csv()])


def test_a_question_of_files_alone_is_sent_without_an_empty_text(model, north):
    assert len(ask(model, png(), input="")) == 1


def test_what_is_asked_cannot_stand_for_a_file(model, north, monkeypatch):
    """A placeholder that a user could write would bring the file in where he wants it."""
    import re

    from zango_ai.providers import file_placeholders

    seen = []
    really = file_placeholders.Placeholders.part

    def part(self, file):
        made = really(self, file)
        seen.extend(self.files)
        return made

    monkeypatch.setattr(file_placeholders.Placeholders, "part", part)
    ask(model, png())
    get_agent("helper").run(f"What is {seen[0]}?", files=[png()])
    assert seen[0] in model.requests[-1].body["messages"][-1]["content"][1]["text"]
    assert re.fullmatch("[A-Za-z0-9+/]{40,}", seen[0])


# By URL

URL = "https://cdn.example.com/shoe.jpg"


@pytest.mark.parametrize("kind", ["openai", "azure", "openai_compatible", "mistral", "groq"])
def test_an_image_by_url_is_fetched_by_the_vendor(model, north, kind):
    provider = make_provider(model, kind=kind, default_model="a-model-that-no-list-knows")
    make_agent(model, provider=provider)
    get_agent("helper").run("tags?", files=[LLMFile.from_url(URL)])
    image, _ = model.requests[-1].body["messages"][-1]["content"]
    assert image["image_url"]["url"] == URL


def test_anthropic_fetches_images_and_documents(model, north):
    document = LLMFile.from_url("http://example.com/a.pdf")
    assert ask(model, LLMFile.from_url(URL), document, png(), kind="anthropic")[:3] == [
        {"type": "image", "source": {"type": "url", "url": URL}},
        {
            "type": "document",
            "source": {"type": "url", "url": "http://example.com/a.pdf"},
            "title": "a.pdf",
        },
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(PNG)}},
    ]


def test_gemini_fetches_images_and_documents(model, north):
    document = LLMFile.from_url("https://example.com/latest", media_type="application/pdf")
    assert ask(model, LLMFile.from_url(URL), document, kind="gemini")[:2] == [
        {"file_data": {"mime_type": "image/jpeg", "file_uri": URL}},
        {"file_data": {"mime_type": "application/pdf", "file_uri": "https://example.com/latest"}},
    ]


INSIDE = [
    *("http://127.0.0.1:9/a.png", "http://169.254.169.254/latest/a.png", "http://[::1]/a.png"),
    *("http://localhost/a.png", "http://2130706433/a.png", "http://files.internal/a.png", "http://intranet/a.png"),
]


@pytest.mark.parametrize("url", INSIDE)
def test_a_provider_inside_the_network_is_not_made_to_fetch_from_it(model, north, url):
    make_agent(model)
    with pytest.raises(LLMFileError, match="both inside this server's network") as caught:
        get_agent("helper").run("tags?", files=[LLMFile.from_url(url)])
    assert caught.value.filename == "a.png"
    assert model.requests == []


def test_a_name_that_leads_inside_is_an_address_inside(model, north, monkeypatch):
    from zango_ai.providers import addresses

    monkeypatch.setattr(addresses, "resolve", lambda host, port: ["93.184.216.34", "10.0.0.7"])
    make_agent(model)
    with pytest.raises(LLMFileError, match="both inside"):
        get_agent("helper").run("tags?", files=[LLMFile.from_url(URL)])


def test_a_provider_outside_may_be_given_any_url():
    from zango_ai.providers import addresses

    assert addresses.problem_of_file(INSIDE[0], "https://api.openai.com/v1", ("http://127.0.0.1:8000",)) is None


def test_nothing_is_fetched_by_this_server(model, north, settings):
    from zango_ai.testing import ModelServer

    with ModelServer() as elsewhere:
        settings.ZANGO_AI = {"ALLOWED_API_BASES": [model.url, elsewhere.url]}
        for kind in ("openai", "anthropic", "gemini"):
            provider = make_provider(model, kind=kind, name=kind)
            make_agent(model, kind, provider=provider)
            get_agent(kind).run("tags?", files=[LLMFile.from_url(f"{elsewhere.url}/a.png")])
        assert elsewhere.connections == 0


# What is refused

REFUSED = {
    "empty": (lambda: LLMFile.from_bytes(b"", "text/plain", "a.txt"), "is empty", "a.txt"),
    "missing": (lambda: LLMFile.from_path("/no/such/file.pdf"), "cannot be read", "file.pdf"),
    "no file in the field": (lambda: LLMFile.from_django_file(None), "file field is empty", "file"),
    "misnamed": (lambda: LLMFile.from_bytes(b"x", "image/png", "a.png"), "its content is not", "a.png"),
    "unknown": (lambda: LLMFile.from_bytes(b"x", "application/zip", "a.zip"), "OpenAI takes PNG", "a.zip"),
    "nameless": (lambda: LLMFile.from_bytes(b"x", "", "a"), "its type is not known", "a"),
    "docx": (lambda: LLMFile.from_bytes(b"PK", DOCX, "a.docx"), "gpt-4o-mini", "a.docx"),
    "ftp": (lambda: LLMFile.from_url("ftp://example.com/a.png"), "only http and https", "file"),
    "file": (lambda: LLMFile.from_url("file:///etc/hosts"), "only http and https", "file"),
    "data": (lambda: LLMFile.from_url("data:text/plain,x"), "only http and https", "file"),
    "password": (lambda: LLMFile.from_url("https://a:b@example.com/a.png"), "user name or password", "a.png"),
    "document by url": (lambda: LLMFile.from_url("https://example.com/a.pdf"), "fetches no documents", "a.pdf"),
    "text by url": (lambda: LLMFile.from_url("https://example.com/a.csv"), "not fetched from a URL", "a.csv"),
    "large": (lambda: LLMFile.from_bytes(b"x" * 101, "text/plain", "a.txt"), "larger than 100 bytes", "a.txt"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_sent_is_named_and_leaves_a_failed_row(model, north, settings, name):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "MAX_FILE_BYTES": 100}
    make_agent(model)
    file, words, filename = REFUSED[name]
    with pytest.raises(LLMFileError) as caught:
        get_agent("helper").run("What is this?", files=[file()])
    assert words in str(caught.value)
    assert caught.value.filename == filename
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.error_type, row.rounds_count) == ("failed", "LLMFileError", 0)
    assert model.requests == []


def test_too_many_files_are_refused(model, north, settings):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "MAX_FILES": 2}
    make_agent(model)
    with pytest.raises(LLMFileError, match="3 files are too many") as caught:
        get_agent("helper").run("hi", files=[csv(name="1"), csv(name="2"), csv(name="3")])
    assert caught.value.filename == "3"


@pytest.mark.parametrize("wrong", [[b"x"], ["a.pdf"], png(), [None]])
def test_files_are_a_list_of_llmfiles(model, north, wrong):
    make_agent(model)
    with pytest.raises(TypeError, match="LLMFile"):
        get_agent("helper").run("hi", files=wrong)


def test_a_model_that_is_known_to_see_nothing_is_sent_no_image(model, north):
    provider = make_provider(model, default_model="gpt-3.5-turbo")
    make_agent(model, provider=provider)
    with pytest.raises(LLMFileError, match=r"scan\.png.*image/png.*gpt-3\.5-turbo.*takes no images"):
        get_agent("helper").run("hi", files=[png()])
    with pytest.raises(LLMFileError, match="takes no documents"):
        get_agent("helper").run("hi", files=[a_pdf()])
    get_agent("helper").run("hi", files=[csv()])
    row = ProviderModel.objects.create(provider=provider, model_id="gpt-3.5-turbo", accepts_images=True)
    get_agent("helper").run("hi", files=[png()])
    row.accepts_images = False
    row.save()
    with pytest.raises(LLMFileError):
        get_agent("helper").run("hi", files=[png()])


def test_a_fallback_that_cannot_take_the_file_is_passed_over(model, north):
    agent = make_agent(model)
    Fallback.objects.create(
        agent=agent, position=1, provider=make_provider(model, name="blind", default_model="gpt-3.5-turbo")
    )
    Fallback.objects.create(agent=agent, position=2, provider=make_provider(model, name="seeing", kind="anthropic"))
    model.script(Reply("down", status=503))
    get_agent("helper").run("hi", files=[png()])
    assert Invocation.objects.get().provider_name == "seeing"
    assert model.requests[-1].body["messages"][-1]["content"][0]["type"] == "image"


# Django's files


def upload(kind):
    if kind == "in memory":
        return SimpleUploadedFile("scan.pdf", PDF, content_type="application/pdf")
    file = TemporaryUploadedFile("scan.pdf", "application/pdf", len(PDF), None)
    file.write(PDF)
    file.seek(0)
    return file


@pytest.mark.parametrize("kind", ["in memory", "temporary"])
@pytest.mark.parametrize("position", [0, 7])
def test_an_upload_is_read_from_the_start_and_left_as_it_was(model, north, kind, position):
    with upload(kind) as file:
        file.seek(position)
        document, _ = ask(model, LLMFile.from_django_file(file))
        assert base64.b64decode(document["file"]["file_data"].partition(",")[2]) == PDF
        assert file.tell() == position
        assert b"".join(file.chunks()) == PDF


def test_an_upload_that_the_browser_calls_octets_is_known_by_name_and_content(model, north):
    file = SimpleUploadedFile("photo.bin", JPEG, content_type="application/octet-stream")
    image, _ = ask(model, LLMFile.from_django_file(file))
    assert image["image_url"]["url"].startswith("data:image/jpeg;")


class Remote(Storage):
    """Storage elsewhere: its files have no path."""

    def __init__(self):
        self.held = {}

    def _save(self, name, content):
        self.held[name] = content.read()
        return name

    def _open(self, name, mode):
        return ContentFile(self.held[name], name)

    def exists(self, name):
        return name in self.held


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_a_models_file_field_is_read_and_left_usable(model, north, tmp_path, kind):
    storage = FileSystemStorage(tmp_path) if kind == "local" else Remote()
    name = storage.save("reports/jan.pdf", ContentFile(PDF))
    field = FieldFile(None, models.FileField(storage=storage), name)
    document, _ = ask(model, LLMFile.from_django_file(field))
    assert document["file"]["filename"] == "jan.pdf"
    assert base64.b64decode(document["file"]["file_data"].partition(",")[2]) == PDF
    with field:
        assert field.read() == PDF  # opens by itself, as an untouched one does
        field.seek(3)
        LLMFile.from_django_file(field).load()
        assert field.tell() == 3


def test_a_file_that_the_storage_has_lost_is_named(model, north, tmp_path):
    field = FieldFile(None, models.FileField(storage=FileSystemStorage(tmp_path)), "gone.pdf")
    make_agent(model)
    with pytest.raises(LLMFileError, match=r"gone\.pdf.*cannot be read \(FileNotFoundError\)"):
        get_agent("helper").run("hi", files=[LLMFile.from_django_file(field)])
    empty = FieldFile(None, models.FileField(storage=FileSystemStorage(tmp_path)), "")
    with pytest.raises(LLMFileError, match="file field is empty"):
        get_agent("helper").run("hi", files=[LLMFile.from_django_file(empty)])


def test_a_time_limit_while_a_storage_reads_is_not_taken_for_its_fault(model, north):
    from billiard.exceptions import SoftTimeLimitExceeded

    class Slow(BytesIO):
        name = "slow.txt"

        def read(self, size=-1):
            raise SoftTimeLimitExceeded

    make_agent(model)
    with pytest.raises(SoftTimeLimitExceeded):
        get_agent("helper").run("hi", files=[LLMFile.from_django_file(Slow())])
    assert Invocation.objects.get().error_type == "SoftTimeLimitExceeded"


# What is kept


def content_of(row):
    with row.file.open() as content:
        return content.read()


def stored(media):
    return sorted(str(path.relative_to(media)) for path in media.rglob("*") if path.is_file())


def test_each_file_is_in_the_log_with_its_content(model, north, media):
    ask(model, a_pdf(), csv(), LLMFile.from_url(URL), kind="anthropic")
    report, table, shoe = InvocationFile.objects.all()
    assert report.invocation == Invocation.objects.get()
    assert (report.filename, report.media_type, report.size_bytes, report.source) == (
        "report.pdf",
        "application/pdf",
        len(pdf("a")),
        "stored",
    )
    assert content_of(report) == pdf("a")
    assert report.file.name == f"north/zango_ai/{report.sha256[:2]}/{report.sha256}"
    assert content_of(table) == b'a,b\n1,"2"\n'
    assert (shoe.source, shoe.url, shoe.file.name, shoe.sha256, shoe.size_bytes) == ("url", URL, "", "", None)
    assert len(stored(media)) == 2


def test_the_same_content_is_stored_once_in_a_tenant_and_once_in_each(model, tenants, media):
    for schema in ("north", "south"):
        with schema_context(schema):
            make_agent(model)
            for name in ("one.csv", "two.csv"):
                get_agent("helper").run("hi", files=[csv(name=name)])
            assert len(set(InvocationFile.objects.values_list("file", flat=True))) == 1
    assert [path.partition("/")[0] for path in stored(media)] == ["north", "south"]


def test_no_row_holds_a_files_content(model, north):
    text = "only-in-the-file," * 20
    model.script("It is a table.")
    ask(model, a_pdf(), csv(text), png())
    row = InvocationRound.objects.get()
    logged = json.dumps([row.request_messages, row.request_params, list(Invocation.objects.values())], default=str)
    assert "only-in-the-file" not in logged
    assert b64(PNG)[:40] not in logged
    assert row.request_messages[-1]["content"] == "What is this?"
    files = row.request_messages[-1]["files"]
    assert [file["filename"] for file in files] == ["report.pdf", "table.csv", "scan.png"]
    assert [file["sha256"] for file in files] == list(InvocationFile.objects.values_list("sha256", flat=True))


def test_a_file_among_the_variables_shows_no_content(model, north):
    make_agent(model, user_prompt=make_prompt("{{ file }}"))
    get_agent("helper").run(variables={"file": png()})
    assert Invocation.objects.get().variables == {"file": "<LLMFile 'scan.png' image/png>"}


class Broken(InMemoryStorage):
    def _save(self, name, content):
        raise OSError("disk full")


@pytest.mark.parametrize("fault", ["save", "exists"])
def test_a_storage_that_fails_is_logged_and_the_run_goes_on(model, north, monkeypatch, caplog, fault):
    storage = Broken()
    if fault == "exists":
        monkeypatch.setattr(storage, "exists", lambda name: 1 / 0)
    use_storage(monkeypatch, storage)
    assert len(ask(model, csv())) == 2
    row = InvocationFile.objects.get()
    assert (row.filename, row.sha256 != "", row.file.name, row.source) == ("table.csv", True, "", "stored")
    assert "Could not store file" in caplog.text


def use_storage(monkeypatch, storage):
    monkeypatch.setattr(InvocationFile._meta.get_field("file"), "storage", storage)


class Encrypting(InMemoryStorage):
    """What it holds is longer than what it was given."""

    deleted = 0

    def size(self, name):
        return super().size(name) + 16

    def delete(self, name):
        self.deleted += 1
        super().delete(name)


class Renaming(InMemoryStorage):
    def get_available_name(self, name, max_length=None):
        return f"elsewhere/{name}"


@pytest.mark.parametrize("kind", [Encrypting, Renaming])
def test_content_is_found_again_in_whatever_storage(model, north, monkeypatch, kind):
    storage = kind()
    use_storage(monkeypatch, storage)
    make_agent(model)
    for _ in range(3):
        get_agent("helper").run("hi", files=[csv()])
    names = set(InvocationFile.objects.values_list("file", flat=True))
    assert len(names) == 1
    assert storage.exists(names.pop())
    assert getattr(storage, "deleted", 0) == 0


def test_the_storage_can_be_overridden_in_a_test(model, north, settings):
    settings.STORAGES = {
        **settings.STORAGES,
        "zango_ai": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    ask(model, csv())
    row = InvocationFile.objects.get()
    assert isinstance(row.file.storage._wrapped, InMemoryStorage)
    assert content_of(row) == csv().data


def test_a_file_that_was_stored_in_part_is_stored_again(model, north, media):
    file = csv()
    broken = media / "north" / "zango_ai" / file.sha256[:2] / file.sha256
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"a,")
    ask(model, file)
    assert content_of(InvocationFile.objects.get()) == file.data


def test_runs_at_the_same_time_store_the_same_content_once(model, live_north, media):
    make_agent(model)

    def work():
        with schema_context("north"):
            get_agent("helper").run("hi", files=[csv("x" * 300_000)])

    run_together([work] * 8)
    assert len(stored(media)) == 1
    assert set(InvocationFile.objects.values_list("file", flat=True)) == set(stored(media))


def test_a_process_that_is_killed_while_it_stores_a_file_leaves_its_row(model, live_north):
    make_agent(model)
    code = """
import os, signal
from django.core.files.storage import Storage
from zango_ai import LLMFile
Storage.save = lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL)
get_agent("helper").run("hi", files=[LLMFile.from_bytes(b"a,b", "text/csv")])
"""
    with child(code) as process:
        assert process.wait(60) == -9
    row = Invocation.objects.get()
    assert (row.status, row.rendered_user_prompt) == ("running", "hi")


def test_what_was_read_before_the_file_that_is_refused_is_in_the_log(model, north):
    make_agent(model)
    with pytest.raises(LLMFileError) as caught:
        get_agent("helper").run("hi", files=[csv(), LLMFile.from_path("/no/such.pdf"), png()])
    row = InvocationFile.objects.get()
    assert (row.filename, row.invocation_id) == ("table.csv", caught.value.invocation_id)


def test_a_vendor_that_repeats_what_it_was_sent_brings_no_content_into_the_log(model, north):
    make_agent(model)
    content = b64(bytes(range(256)) * 4)
    model.script(Reply(f"cannot read {content}", status=422))
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run("hi", files=[png()])
    told = InvocationRound.objects.get().error_message + str(caught.value.original_error)
    assert "cannot read [content]" in told
    assert content[:100] not in told


def test_a_name_that_no_request_could_carry_is_sent_as_far_as_it_goes(model, north):
    for kind in ("openai", "anthropic", "gemini", "bedrock"):
        provider = make_provider(model, kind=kind, name=kind)
        make_agent(model, kind, provider=provider)
        get_agent(kind).run("hi", files=[a_pdf(name="a\udce9\x00\nb.pdf"), csv(name="\udce9.csv")])
        assert "\\udce9" not in model.requests[-1].raw.decode()


# Models of another API


@pytest.mark.parametrize("name", ["o3-pro", "responses/gpt-4o-mini", "text-embedding-3-small"])
def test_a_model_that_answers_through_another_api_is_refused(model, north, name):
    make_agent(model, provider=make_provider(model, default_model=name))
    with pytest.raises(ModelNotAvailable, match="another API"):
        get_agent("helper").run("hi", files=[csv()])
    assert model.requests == []


@pytest.mark.parametrize("name", ["o3-pro", "responses/anything", "gpt-5-codex"])
def test_no_model_leads_past_our_connections(model, north, name):
    """litellm sends some to another API by a client of its own: unguarded, and without the files."""
    from zango_ai.providers import calls
    from zango_ai.types import ModelRequest

    provider = make_provider(model).spec()
    request = ModelRequest(name, (LLMMessage("user", "hi", files=(csv("a,b"),)),), 1.0, 100, 20.0)
    calls.prepare(provider, request).send()
    assert model.requests[-1].path == "/v1/chat/completions"
    assert "a,b" in model.requests[-1].raw.decode()


def test_a_run_that_is_refused_keeps_its_files_in_the_log(model, live_north):
    make_priced_agent(model, monthly_budget_usd=0)
    with pytest.raises(BudgetExceeded) as caught:
        get_agent("helper").run("hi", files=[csv()])
    assert InvocationFile.objects.get().invocation_id == caught.value.invocation_id


def test_files_in_the_log_outlive_the_callers_rollback(model, live_north):
    from django.db import transaction

    make_agent(model)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        get_agent("helper").run("hi", files=[csv(), png()])
        raise ZeroDivisionError
    assert InvocationFile.objects.count() == 2


def test_what_a_file_may_cost_is_reserved(model, north):
    from zango_ai.providers import attachments

    pages = PDF.replace(b"3 0 obj<</Type/Page/", b"3 0 obj<</Type /Page/") + b"4 0 obj<</Type/Page>>endobj"
    assert attachments.tokens_of(LLMFile.from_bytes(pages, "application/pdf"), "gpt-4o") == 2 * 3000
    assert attachments.tokens_of(csv("word " * 1000), "gpt-4o") >= 1000
    assert attachments.tokens_of(png(), "gpt-4o-mini") > 40_000
    assert attachments.tokens_of(LLMFile.from_url(URL), "gpt-4o") > 1000


# Staff


@pytest.fixture
def staff(north):
    from django.contrib.auth.models import User
    from django.test import Client

    add_domains(north, "north.localhost")
    User.objects.create_superuser("root", password="root")
    User.objects.create_user("nurse", password="nurse", is_staff=True)

    def log_in(name):
        client = Client(headers={"host": "north.localhost"})
        assert client.login(username=name, password=name)
        return client

    return log_in


def link_of(row):
    return f"/admin/zango_ai/invocation/{row.invocation_id}/files/{row.pk}/"


def test_staff_can_save_a_file_and_the_browser_shows_none(model, staff):
    html = LLMFile.from_bytes(b"<script>alert(1)</script>", "text/html", 'evil".html')
    ask(model, html, LLMFile.from_url(URL))
    kept, by_url = InvocationFile.objects.all()
    client = staff("root")
    page = client.get(f"/admin/zango_ai/invocation/{kept.invocation_id}/change/").content.decode()
    assert link_of(kept) in page
    assert link_of(by_url) not in page
    assert URL in page
    answer = client.get(link_of(kept))
    assert answer.getvalue() == b"<script>alert(1)</script>"
    assert answer["Content-Disposition"].startswith("attachment; filename=")
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert client.get(link_of(by_url)).status_code == 404


def test_a_file_is_for_those_who_may_see_the_log_and_its_files(model, staff):
    from django.contrib.auth.models import Permission, User

    ask(model, csv())
    link = link_of(InvocationFile.objects.get())
    assert staff("nurse").get(link).status_code == 403
    for name in ("view_invocation", "view_invocationfile"):
        assert staff("nurse").get(link).status_code == 403
        User.objects.get(username="nurse").user_permissions.add(Permission.objects.get(codename=name))
    allowed = staff("nurse").get(link)
    assert (allowed.status_code, allowed.getvalue()) == (200, csv().data)
    from django.test import Client

    assert Client(headers={"host": "north.localhost"}).get(link).status_code == 302  # to log in


def test_a_file_is_found_under_its_own_run_alone(model, staff):
    ask(model, csv())
    get_agent("helper").run("another")
    row = InvocationFile.objects.get()
    other = Invocation.objects.exclude(pk=row.invocation_id).get()
    assert staff("root").get(link_of(row).replace(f"/{row.invocation_id}/", f"/{other.pk}/")).status_code == 404


def test_a_file_that_the_storage_has_lost_is_not_found(model, staff, media):
    ask(model, csv())
    row = InvocationFile.objects.get()
    (media / row.file.name).unlink()
    assert staff("root").get(link_of(row)).status_code == 404


# Memory and retries

MEASURE = """
import gc, os, tracemalloc
from zango_ai import LLMFile
size = 4 * 1024 * 1024
get_agent("helper").run("warm", files=[LLMFile.from_bytes(b"%PDF-1.4 small", "application/pdf")])
tracemalloc.start()
for kind, content in {
    "pdf": lambda: b"%PDF-1.4" + os.urandom(size - 8),
    "pages": lambda: b"%PDF-1.4" + b"/Type/Page " * (size // 11),
    "text": lambda: ("x€" * (size // 4)).encode(),
    "csv": lambda: b'"a","b"\\n' * (size // 8),
    "cyrillic": lambda: b"\\xcf\\xf0" * (size // 2),
}.items():
    media_type = "application/pdf" if kind.startswith("p") else "text/plain"
    file = LLMFile.from_bytes(content()[:size].ljust(size), media_type)
    assert file.size == size
    gc.collect()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0] - size
    response = get_agent("helper").run("hi", files=[file])
    print(kind, (tracemalloc.get_traced_memory()[1] - before) / size, response.invocation_id)
"""


def test_large_files_take_less_than_four_times_their_size(model, live_north):
    """Through litellm as a data URL a PDF takes five times its size; the second try encodes nothing again."""
    make_agent(model, timeout_seconds=60, provider=make_provider(model, max_retries=1))
    model.script("ok", *[Reply("down", status=503, headers={"retry-after": "0"}), "ok"] * 5)
    with child(MEASURE) as process:
        measured = [line.split() for line in said(process).splitlines()]
    assert [kind for kind, _, _ in measured] == ["pdf", "pages", "text", "csv", "cyrillic"]
    for number, (kind, times, key) in enumerate(measured, start=1):
        assert len(model.requests[2 * number].raw) > 4 * 1024 * 1024
        assert Invocation.objects.get(pk=key).rounds_count == 2
        assert float(times) < 4, kind


def test_a_file_is_encoded_once_for_all_tries(model, north, monkeypatch):
    import binascii

    from zango_ai.files import media_types

    encoded = []
    really = binascii.b2a_base64

    def count(data, **options):
        encoded.append(data)
        return really(data, **options)

    monkeypatch.setattr(media_types.binascii, "b2a_base64", count)
    make_agent(model, provider=make_provider(model, max_retries=2))
    model.script(*[Reply("down", status=503, headers={"retry-after": "0"})] * 2)
    get_agent("helper").run("hi", files=[png()])
    assert len(model.requests) == 3
    assert model.requests[0].body["messages"] == model.requests[2].body["messages"]
    assert encoded.count(PNG) == 1
