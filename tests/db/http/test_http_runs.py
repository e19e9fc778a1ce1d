"""``runs/<run_id>/stream/`` and ``cancel/``, and chats that go on without their browser."""

import threading
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.build import make_agent
from tests.db.http.conftest import error_of, events_of, kinds, post, read, said
from tests.db.http.test_http_chat import CHAT, ask, parts
from tests.schemas import schema_context
from zango_ai import get_agent
from zango_ai.exceptions import ZangoAIError
from zango_ai.models import Invocation, InvocationRound
from zango_ai.runs import background, queue
from zango_ai.runs.background import EnqueuedRun
from zango_ai.runs.resumption import execute_queued
from zango_ai.testing import Reply

pytestmark = pytest.mark.urls("tests.http_urls")


def enqueue(client, **body):
    return post(client, "agents/helper/enqueue/", {"input": "How many?", **body}).json()["run_id"]


def work():
    """Do what a worker does with the queued run."""
    run_id = str(Invocation.objects.get(status="queued").run_id)
    with suppress(ZangoAIError):  # the run's row has it
        execute_queued(run_id, celery_task_id=run_id)


def test_a_queued_run_is_streamed_afterwards_from_any_event_on(model, ada, client_of):
    make_agent(model, is_public_api=True)
    model.script("Two a day.")
    run_id = enqueue(ada)
    work()
    whole = read(ada.get(f"/ai/runs/{run_id}/stream/"))
    assert (kinds(whole), said(whole)) == (["text", "round_end", "final"], "Two a day.")
    for options in ({"headers": {"last-event-id": whole[0].id}}, {"query_params": {"after": whole[0].id}}):
        assert read(ada.get(f"/ai/runs/{run_id}/stream/", **options)) == whole[1:]
    seen_all = ada.get(f"/ai/runs/{run_id}/stream/", headers={"last-event-id": whole[-1].id})
    assert seen_all.status_code == 204
    assert client_of("eve").get(f"/ai/runs/{run_id}/stream/").status_code == 404
    assert client_of("eve").post(f"/ai/runs/{run_id}/cancel/").status_code == 404


def test_the_events_of_a_run_that_was_not_streamed_have_fixed_ids(model, ada):
    make_agent(model, is_public_api=True)
    model.script("Two a day.")
    run_id = post(ada, "agents/helper/run/", {"input": "How many?"}).json()["run_id"]
    whole = read(ada.get(f"/ai/runs/{run_id}/stream/"))
    assert [(event.id, event["type"]) for event in whole] == [("1", "text"), ("2", "final")]
    assert read(ada.get(f"/ai/runs/{run_id}/stream/", headers={"last-event-id": "1"})) == whole[1:]
    assert ada.get(f"/ai/runs/{run_id}/stream/", headers={"last-event-id": "2"}).status_code == 204


def test_a_run_is_read_once_and_has_the_time_to_its_first_token(model, ada):
    make_agent(model, is_public_api=True)
    run_id = enqueue(ada)
    work()
    with CaptureQueriesContext(connection) as queries:
        response = ada.get(f"/ai/runs/{run_id}/").json()["response"]
    assert (
        len(
            [
                sql
                for sql in (query["sql"].strip() for query in queries)
                if "resume_state" in sql or sql.startswith("SELECT status")
            ]
        )
        == 1
    )
    round_ = InvocationRound.objects.get()
    assert response["invocation_id"] == round_.invocation_id
    assert round_.time_to_first_token_ms <= response["time_to_first_token_ms"] <= response["latency_ms"]
    assert post(ada, "agents/helper/run/", {"input": "Hi"}).json()["time_to_first_token_ms"] is None


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "9" * 30])
def test_a_last_event_id_that_is_no_number_is_a_400(model, ada, value):
    make_agent(model, is_public_api=True)
    run_id = enqueue(ada)
    for name, options in {
        "Last-Event-ID": {"headers": {"last-event-id": value}},
        "after": {"query_params": {"after": value}},
    }.items():
        answer = ada.get(f"/ai/runs/{run_id}/stream/", **options)
        assert (answer.status_code, error_of(answer)["field"]) == (400, name)


def test_the_error_of_a_queued_run_is_one_event_and_is_not_repeated(model, ada, settings):
    settings.ZANGO_AI = settings.ZANGO_AI | {"BACKGROUND_RETRIES": 0}
    make_agent(model, is_public_api=True)
    model.script(Reply("no", status=400))
    run_id = enqueue(ada)
    work()
    answer = ada.get(f"/ai/runs/{run_id}/stream/")
    (event,) = read(answer)
    assert (answer.status_code, event["type"], event["error"]["type"]) == (200, "error", "LLMAPIError")
    again = ada.get(f"/ai/runs/{run_id}/stream/", headers={"last-event-id": event.id})
    assert again.status_code == 204


def test_a_queued_run_is_cancelled_once(model, ada):
    make_agent(model, is_public_api=True)
    run_id = enqueue(ada)
    assert post(ada, f"runs/{run_id}/cancel/").json() == {"cancelled": True}
    assert post(ada, f"runs/{run_id}/cancel/").json() == {"cancelled": False}
    assert ada.get(f"/ai/runs/{run_id}/").json()["status"] == "cancelled"
    (event,) = read(ada.get(f"/ai/runs/{run_id}/stream/"))
    assert event["error"]["type"] == "RunCancelled"
    assert ada.get(f"/ai/runs/{run_id}/cancel/").status_code == 405


def test_a_chat_without_a_running_answer_has_nothing_to_resume(model, ada):
    make_agent(model, is_public_api=True, short_term_memory=True)
    assert ada.get(f"/ai/{CHAT}c1/stream").status_code == 204
    read(ask(ada, "Hi"))
    assert ada.get(f"/ai/{CHAT}c1/stream").status_code == 204
    assert ada.get("/ai/agents/nobody/chat/c1/stream").status_code == 404


def test_a_chat_in_a_worker_has_the_run_as_its_message(model, ada, settings, monkeypatch):
    def send(*run):
        work()
        return EnqueuedRun(*run)

    monkeypatch.setattr(background, "send", send)
    settings.ZANGO_AI = settings.ZANGO_AI | {"RESUMABLE_CHATS": True}
    make_agent(model, is_public_api=True, short_term_memory=True)
    start, *_, finish = parts(ask(ada, "Hi"))
    run = Invocation.objects.get()
    assert start == {"type": "start", "messageId": str(run.run_id)}
    assert finish["type"] == "finish"
    assert (run.triggered_by, run.session_id) == ("user", "c1")


def test_a_chat_in_a_worker_needs_memory(model, ada, settings, caplog):
    settings.ZANGO_AI = settings.ZANGO_AI | {"RESUMABLE_CHATS": True}
    make_agent(model, is_public_api=True)
    answer = ask(ada, "Hi")
    assert (answer.status_code, error_of(answer)["type"]) == (409, "MemoryRequired")
    assert "Chats of agent 'helper' cannot be resumed. Tick 'Short-term memory' in the admin." in caplog.messages
    assert not Invocation.objects.exists()


def test_a_chat_in_a_worker_goes_on_when_its_page_is_reloaded(model, server, monkeypatch):
    monkeypatch.setattr(queue, "send", lambda run_id, schema: str(run_id))
    make_agent(model, is_public_api=True, short_term_memory=True)
    model.script(Reply("one two three four", trickle_s=0.1))
    owner = str(User.objects.get().pk)
    run = get_agent("helper").enqueue("Count.", session_id="c1", user_ref=owner, stream=True)
    worker = threading.Thread(target=work_in_thread)
    worker.start()
    model.wait_for_requests(1)
    with server.stream("GET", f"/ai/{CHAT}c1/stream") as answer:
        pieces = answer.iter_raw()
        assert "one" in next(pieces).decode()
    seen = [event.data for event in events_of(server.get(f"/ai/{CHAT}c1/stream").text)]
    worker.join()
    assert seen[0] == {"type": "start", "messageId": str(run.run_id)}
    text = "".join(part["delta"] for part in seen[:-1] if part["type"] == "text-delta")
    assert (text, seen[-1]) == ("one two three four", "[DONE]")
    assert run.status == "success"
    assert server.get(f"/ai/{CHAT}c1/stream").status_code == 204


def work_in_thread():
    with schema_context("north"):
        work()
    connection.close()
