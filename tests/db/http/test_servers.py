"""Streams on real web servers: gunicorn with threads, and uvicorn. A client here is a socket."""

import time

from django.contrib.auth.models import User

from tests.build import make_agent, make_agent_with
from tests.db.http.conftest import events_of, kinds, said
from tests.server_tools import move_cot
from zango_ai.models import Invocation
from zango_ai.testing import Call, Reply

STREAM = "/ai/agents/helper/stream/"
CSRF = "c" * 32


def ended():
    """The latest run's row, once it has ended."""
    deadline = time.monotonic() + 30
    while (row := Invocation.objects.order_by("-pk").first()) is None or row.status == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return row


def test_a_whole_stream_is_read_and_the_run_succeeds(model, server):
    make_agent(model, is_public_api=True)
    model.script("Two a day, — with water.")
    answer = server.post(STREAM, json={"input": "How many?"})
    events = events_of(answer.text)
    assert (answer.status_code, kinds(events)) == (200, ["text", "round_end", "final"])
    assert said(events) == "Two a day, — with water."
    assert ended().status == "success"


def test_a_client_that_disconnects_cancels_the_run(model, server):
    make_agent(model, is_public_api=True)
    model.script(Reply("word " * 2000, trickle_s=0.01))
    with server.stream("POST", STREAM, json={"input": "Hi"}) as answer:
        pieces = answer.iter_raw()
        assert "word" in next(pieces).decode()
        assert Invocation.objects.get().status == "running"
    model.wait_for_abandoned(1)
    row = ended()
    assert row.status == "cancelled"
    assert row.output_tokens > 0


def test_a_client_that_disconnects_during_silence_cancels_the_run(model, server):
    make_agent(model, is_public_api=True)
    model.script(Reply("word " * 20, stalls_after=4))
    server.get("/heartbeat/0.05/")
    with server.stream("POST", STREAM, json={"input": "Hi"}) as answer:
        assert any(b"word" in piece for piece in answer.iter_raw())
    model.wait_for_abandoned(1)
    server.get("/heartbeat/15/")
    row = ended()
    assert (row.status, row.output_tokens > 0) == ("cancelled", True)


def test_an_approved_run_streams_its_rest(model, server):
    make_agent_with(model, move_cot, is_public_api=True)
    model.script(Reply(calls=[Call("move_cot", {"to": "B"})]), "It is there.")
    run = server.post("/ai/agents/helper/run/", json={"input": "Move it"}).json()
    decisions = {"approvals": {run["pending_approvals"][0]["id"]: True}}
    headers = {"Accept": "text/event-stream"}
    events = events_of(server.post(f"/ai/runs/{run['run_id']}/approvals/", json=decisions, headers=headers).text)
    assert kinds(events) == ["tool_call", "tool_result", "text", "round_end", "final"]
    assert said(events) == "It is there."
    assert ended().status == "success"


def test_a_silent_stream_has_heartbeats_and_then_the_error_as_an_event(model, server):
    make_agent(model, is_public_api=True)
    model.script(Reply("no", status=500, delay_s=0.5))
    server.get("/heartbeat/0.05/")
    answer = server.post(STREAM, json={"input": "Hi"})
    server.get("/heartbeat/15/")
    assert (answer.status_code, answer.text.count(": heartbeat\n\n") > 1) == (200, True)
    assert [event["type"] for event in events_of(answer.text)] == ["error"]
    assert ended().status == "failed"


def test_an_early_error_has_its_own_status(model, server):
    make_agent(model, is_public_api=True)
    model.script(Reply("no", status=500))
    assert server.post(STREAM, json={"input": "Hi"}).status_code == 502


def test_the_playground_of_the_admin_streams(model, server):
    User.objects.update(is_staff=True, is_superuser=True)
    config = make_agent(model)
    model.script("Two a day.")
    form = {"columns": "1", "column": "1", "message": "How many?", "c1-provider": str(config.provider_id)}
    address = f"/admin/zango_ai/agentconfig/{config.pk}/playground/"
    answer = server.post(address, data=form, headers={"Accept": "text/event-stream"})
    events = events_of(answer.text)
    assert (answer.status_code, kinds(events)) == (200, ["started", "text", "round_end", "final"])
    assert events[-1]["text"] == "Two a day."
    assert ended().status == "success"
