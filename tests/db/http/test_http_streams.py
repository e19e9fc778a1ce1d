"""``POST agents/<name>/stream/``: what a client reads while the model writes."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.build import make_agent, make_agent_with
from tests.db.http.conftest import error_of, events_of, kinds, post, read, said
from zango_ai import tool
from zango_ai.models import Invocation
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.urls("tests.http_urls")

STREAM = "agents/helper/stream/"


def test_a_stream_has_an_event_for_each_chunk_and_ends_with_the_response(model, ada):
    make_agent(model, is_public_api=True)
    model.script(Reply("Two a day, — with water.", input_tokens=10, output_tokens=6))
    answer = post(ada, STREAM, {"input": "How many?"})
    events = read(answer)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert (answer.headers["X-Accel-Buffering"], answer.headers["Cache-Control"]) == ("no", "no-store")
    assert kinds(events) == ["text", "round_end", "final"]
    assert said(events) == "Two a day, — with water."
    assert [event.id for event in events] == [str(number) for number in range(1, len(events) + 1)]
    whole = post(ada, "agents/helper/run/", {"input": "How many?"}).json()
    assert events[-1]["response"].keys() == whole.keys()
    assert events[-1]["response"]["usage"]["input_tokens"] == 10
    row = Invocation.objects.order_by("pk").first()
    assert (row.user_ref, row.triggered_by, row.status) == (ada.session["_auth_user_id"], "user", "success")


def test_tool_calls_are_events_with_their_results(model, ada):
    @tool(name="count_free_beds", description="Count.")
    def count_free_beds(ward: str) -> int:
        return 12

    make_agent_with(model, count_free_beds, is_public_api=True)
    model.script(Reply("Let me look.", calls=[Call("count_free_beds", {"ward": "B"})]), "Twelve.")
    events = read(post(ada, STREAM, {"input": "How many?"}))
    assert kinds(events) == ["text", "round_end", "tool_call", "tool_result", "text", "round_end", "final"]
    call, result = (event["tool_call"] for event in events if "tool_call" in event.data)
    assert (call["name"], call["input"], call["status"]) == ("count_free_beds", {"ward": "B"}, "running")
    assert (result["id"], result["result"], result["status"]) == (call["id"], 12, "success")


def test_files_are_sent_as_multipart(model, ada):
    make_agent(model, is_public_api=True)
    upload = SimpleUploadedFile("note.txt", b"Penicillin", content_type="text/plain")
    read(ada.post(f"/ai/{STREAM}", {"input": "Read it.", "files": [upload]}))
    assert "Penicillin" in json.dumps(model.requests[0].body)


@pytest.mark.parametrize(
    ("reply", "status"),
    [(Reply("no", status=500), 502), (Reply("slow down", status=429, headers={"retry-after": "7"}), 429)],
)
def test_an_error_before_the_first_chunk_has_its_own_status(model, ada, reply, status):
    make_agent(model, is_public_api=True)
    model.script(reply)
    answer = post(ada, STREAM, {"input": "Hi"})
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, "7" if status == 429 else None)
    assert "main" not in answer.content.decode()


def test_an_error_after_the_first_chunk_is_the_last_event(model, ada):
    make_agent(model, is_public_api=True)
    model.script(Reply("one two three", fails_after=3))
    events = read(post(ada, STREAM, {"input": "Hi"}))
    assert kinds(events) == ["text", "error"]
    assert events[-1]["error"]["type"] == "LLMAPIError"
    assert "main" not in json.dumps(events[-1].data)
    assert Invocation.objects.get().status == "failed"


def test_a_bug_after_the_first_chunk_is_logged_and_told_without_its_details(model, ada, caplog, monkeypatch):
    make_agent(model, is_public_api=True)
    monkeypatch.setattr("zango_ai.agent.Agent.stream", lambda self, **arguments: fails_after_a_chunk())
    events = read(post(ada, STREAM, {"input": "Hi"}))
    assert [event["type"] for event in events] == ["text", "error"]
    assert events[-1]["error"]["type"] == "ServerError"
    assert "secret" in caplog.text


def fails_after_a_chunk():
    from zango_ai import LLMStreamChunk

    yield LLMStreamChunk(type="text", number=1, text="one")
    raise LookupError("secret")


@pytest.mark.parametrize(("body", "field"), [({"input": 3}, "input"), ({"stream": True}, "stream"), ({}, "input")])
def test_a_wrong_body_is_a_400_as_elsewhere(model, ada, body, field):
    make_agent(model, is_public_api=True)
    answer = post(ada, STREAM, body)
    assert (answer.status_code, error_of(answer)["field"]) == (400, field)
    assert model.requests == []


def test_only_those_who_may_run_an_agent_may_stream_it(model, ada, client_of):
    make_agent(model, is_public_api=True, short_term_memory=True)
    read(post(ada, STREAM, {"input": "I am Ada.", "session_id": "s1"}))
    anonymous = Client(headers={"host": "north.localhost"})
    assert post(anonymous, STREAM, {"input": "Hi"}).status_code == 401
    assert post(client_of("eve"), STREAM, {"input": "Hi", "session_id": "s1"}).status_code == 404
    assert post(client_of("ada", enforce_csrf_checks=True), STREAM, {"input": "Hi"}).status_code == 403
    assert post(ada, "agents/nobody/stream/", {"input": "Hi"}).status_code == 404
    assert ada.get(f"/ai/{STREAM}").status_code == 405
    assert len(model.requests) == 1


def test_a_compressing_middleware_holds_no_event_back(model, ada, settings):
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
    make_agent(model, is_public_api=True)
    model.script(Reply("one two three"))
    pieces = list(post(ada, STREAM, {"input": "Hi"}, headers={"accept-encoding": "gzip"}).streaming_content)
    assert [len(events_of(piece.decode())) for piece in pieces if piece] == [1] * 5
