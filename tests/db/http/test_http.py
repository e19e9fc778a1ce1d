"""Agents over HTTP: who may call which, what a body may hold, what comes back."""

import json
import uuid

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.build import make_agent, make_agent_with, make_prompt
from tests.db.http.conftest import CSRF, error_of, post
from tests.schemas import schema_context
from zango_ai import get_agent, tool
from zango_ai.models import AgentConfig, Invocation
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.urls("tests.http_urls")


def test_a_run_answers_with_the_whole_response(model, ada):
    make_agent(model, is_public_api=True)
    model.script(Reply("Two a day.", input_tokens=10, output_tokens=3))
    answer = post(ada, "agents/helper/run/", {"input": "How many?"})
    assert answer.status_code == 200
    document = answer.json()
    assert document["content"] == "Two a day."
    assert document["usage"]["input_tokens"] == 10
    invocation = Invocation.objects.get()
    assert document["run_id"] == str(invocation.run_id)
    assert (invocation.user_ref, invocation.triggered_by) == (str(User.objects.get().pk), "user")


def test_variables_fill_the_user_prompt(model, ada):
    make_agent(model, is_public_api=True, user_prompt=make_prompt("Find {{ name }}."))
    post(ada, "agents/helper/run/", {"variables": {"name": "Ada"}})
    assert model.requests[0].body["messages"][-1]["content"] == "Find Ada."


def test_files_come_as_multipart(model, ada):
    make_agent(model, is_public_api=True)
    upload = SimpleUploadedFile("note.txt", b"Penicillin", content_type="text/plain")
    answer = ada.post("/ai/agents/helper/run/", {"input": "Read it.", "files": [upload]})
    assert answer.status_code == 200
    assert "Penicillin" in json.dumps(model.requests[0].body)


@pytest.mark.parametrize("fields", [{}, {"is_enabled": False, "is_public_api": True}])
def test_an_agent_that_is_not_open_to_the_api_is_not_found(model, ada, fields):
    make_agent(model, **fields)
    answer = post(ada, "agents/helper/run/", {"input": "Hi"})
    assert answer.status_code == 404
    assert model.requests == []


def test_an_agent_that_is_not_open_to_the_api_is_named_in_the_log(model, ada, caplog):
    make_agent(model)
    answer = post(ada, "agents/helper/run/", {"input": "Hi"})
    assert "helper" not in str(error_of(answer))
    assert "Agent 'helper' is not available over HTTP. Tick 'Available over HTTP' in the admin." in caplog.messages
    AgentConfig.objects.update(is_public_api=True)
    caplog.clear()
    assert post(ada, "agents/helper/run/", {"input": "Hi"}).status_code == 200
    assert "not available" not in caplog.text


def test_an_unknown_field_is_answered_with_the_allowed_ones(model, ada):
    make_agent(model, is_public_api=True)
    answer = post(ada, "agents/helper/run/", {"message": "Hi"})
    wanted = "'message' is not a field of this request. Allowed: input, variables, session_id."
    assert error_of(answer)["message"] == wanted
    answer = ada.post("/ai/agents/helper/run/", {"message": "Hi"})
    assert error_of(answer)["message"] == wanted


def test_an_anonymous_caller_has_to_log_in(model, ada, north):
    make_agent(model, is_public_api=True)
    anonymous = Client(headers={"host": "north.localhost"})
    assert post(anonymous, "agents/helper/run/", {"input": "Hi"}).status_code == 401
    assert model.requests == []


def test_the_projects_own_permission_decides(model, ada, settings):
    make_agent(model, is_public_api=True)
    settings.ZANGO_AI = settings.ZANGO_AI | {"API_PERMISSION": lambda request, name: name != "helper"}
    answer = post(ada, "agents/helper/run/", {"input": "Hi"})
    assert (answer.status_code, error_of(answer)["type"]) == (403, "PermissionDenied")
    assert model.requests == []


def test_a_request_without_a_csrf_token_is_refused(model, client_of):
    make_agent(model, is_public_api=True)
    strict = client_of("ada", enforce_csrf_checks=True)
    answer = post(strict, "agents/helper/run/", {"input": "Hi"})
    assert (answer.status_code, error_of(answer)["type"]) == (403, "CSRFFailed")
    assert model.requests == []
    strict.cookies["csrftoken"] = CSRF
    answer = post(strict, "agents/helper/run/", {"input": "Hi"}, headers={"x-csrftoken": CSRF})
    assert answer.status_code == 200


def test_a_text_field_that_is_sent_as_a_file_is_refused(model, ada):
    make_agent(model, is_public_api=True)
    upload = SimpleUploadedFile("input", b"Read it.", content_type="text/plain")
    error = error_of(ada.post("/ai/agents/helper/run/", {"input": upload}))
    assert error["message"] == "input must be sent as text, not as a file."
    assert error["field"] == "input"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": 3}, "input"),
        ({"input": "Hi", "variables": []}, "variables"),
        ({"input": "Hi", "session_id": ""}, "session_id"),
        ({"input": "Hi", "session_id": 3}, "session_id"),
        ({"input": "Hi", "user_ref": "7"}, "user_ref"),
        ({"input": "Hi", "system_variables": {}}, "system_variables"),
        ({"input": "Hi", "files": []}, "files"),
        ([], "body"),
        ("text", "body"),
        ({}, "input"),
    ],
)
def test_a_wrong_body_is_a_400_that_names_the_field(model, ada, body, field):
    make_agent(model, is_public_api=True)
    answer = ada.post("/ai/agents/helper/run/", json.dumps(body), content_type="application/json")
    assert (answer.status_code, error_of(answer)["field"]) == (400, field)
    assert model.requests == []


@pytest.mark.parametrize("raw", [b"{", b'{"input": NaN}', b"\xff", b'{"input": "a", "input": "b"}', b"[" * 100_000])
def test_a_body_that_is_no_json_is_a_400(model, ada, raw):
    make_agent(model, is_public_api=True)
    answer = ada.post("/ai/agents/helper/run/", raw, content_type="application/json")
    assert (answer.status_code, error_of(answer)["field"]) == (400, "body")


def test_another_content_type_is_a_400(model, ada):
    make_agent(model, is_public_api=True)
    answer = ada.post("/ai/agents/helper/run/", b"input=Hi", content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, error_of(answer)["field"]) == (400, "Content-Type")


def test_a_missing_variable_is_named(model, ada):
    make_agent(model, is_public_api=True, user_prompt=make_prompt("Find {{ name }}."))
    answer = post(ada, "agents/helper/run/", {"variables": {}})
    assert (answer.status_code, error_of(answer)["field"]) == (400, "variables")
    assert "name" in error_of(answer)["message"]


def test_a_body_that_is_too_large_is_refused(model, ada, settings):
    make_agent(model, is_public_api=True)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = post(ada, "agents/helper/run/", {"input": "x" * 2000})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("reply", "status"),
    [(Reply("no", status=500), 502), (Reply("slow down", status=429, headers={"retry-after": "7"}), 429)],
)
def test_a_providers_fault_is_told_without_its_details(model, ada, reply, status):
    make_agent(model, is_public_api=True)
    model.script(reply)
    answer = post(ada, "agents/helper/run/", {"input": "Hi"})
    assert answer.status_code == status
    assert "main" not in answer.content.decode()
    assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)


def test_only_the_other_method_is_allowed(model, ada):
    answer = ada.get("/ai/agents/helper/run/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_a_run_is_shown_to_its_own_user_only(model, ada, client_of):
    make_agent(model, is_public_api=True)
    model.script("Two a day.")
    run_id = post(ada, "agents/helper/run/", {"input": "How many?"}).json()["run_id"]
    shown = ada.get(f"/ai/runs/{run_id}/").json()
    assert (shown["status"], shown["response"]["content"]) == ("success", "Two a day.")
    assert client_of("eve").get(f"/ai/runs/{run_id}/").status_code == 404
    anonymous = Client(headers={"host": "north.localhost"})
    assert anonymous.get(f"/ai/runs/{run_id}/").status_code == 404


@pytest.mark.parametrize("run_id", ["3", "nothing", str(uuid.UUID(int=7))])
def test_a_run_that_is_not_there_is_not_found(model, ada, run_id):
    assert ada.get(f"/ai/runs/{run_id}/").status_code == 404


def test_a_failed_run_says_why_in_one_word(model, ada):
    make_agent(model, is_public_api=True)
    model.script(Reply("no", status=400))
    post(ada, "agents/helper/run/", {"input": "Hi"})
    shown = ada.get(f"/ai/runs/{Invocation.objects.get().run_id}/").json()
    assert (shown["status"], shown["error_type"], shown["response"]) == ("failed", "LLMAPIError", None)


def test_a_session_goes_on_for_its_own_user_only(model, ada, client_of):
    make_agent(model, is_public_api=True, short_term_memory=True)
    session_id = post(ada, "agents/helper/run/", {"input": "I am Ada."}).json()["session_id"]
    body = {"input": "Who am I?", "session_id": session_id}
    assert post(client_of("eve"), "agents/helper/run/", body).status_code == 404
    assert len(model.requests) == 1
    assert post(ada, "agents/helper/run/", body).json()["session_id"] == session_id
    assert len(model.requests[1].body["messages"]) == 3


def test_a_session_that_an_application_opened_for_nobody_is_nobodys(model, ada):
    make_agent(model, is_public_api=True, short_term_memory=True)
    get_agent("helper").run("The secret is 42.", session_id="shared")
    assert post(ada, "agents/helper/run/", {"input": "What is it?", "session_id": "shared"}).status_code == 404


def test_a_user_ends_the_own_session_and_no_other(model, ada, client_of):
    make_agent(model, is_public_api=True, short_term_memory=True)
    post(ada, "agents/helper/run/", {"input": "I am Ada.", "session_id": "a/b c"})
    path = "agents/helper/sessions/a%2Fb%20c/clear/"
    assert post(client_of("eve"), path).status_code == 404
    assert post(ada, path).json() == {"cleared": True}
    assert post(ada, path).status_code == 404


@pytest.mark.parametrize("session_id", ["x%07", "x" * 256])
def test_a_session_id_that_cannot_exist_is_not_found(model, ada, session_id):
    make_agent(model, is_public_api=True, short_term_memory=True)
    assert post(ada, f"agents/helper/sessions/{session_id}/clear/").status_code == 404
    assert ada.get(f"/ai/agents/helper/chat/{session_id}/stream").status_code == 404


def test_a_tool_call_waits_for_the_users_approval_and_goes_on(model, ada, client_of):
    asked = []

    @tool(name="send_letter", description="Send it.", safety="external", requires_approval=True)
    def send_letter(to: str) -> str:
        asked.append(to)
        return "sent"

    make_agent_with(model, send_letter, is_public_api=True)
    model.script(Reply(calls=[Call("send_letter", {"to": "Ada"})]), "It is sent.")
    waiting = post(ada, "agents/helper/run/", {"input": "Write to Ada."}).json()
    (pending,) = waiting["pending_approvals"]
    assert pending["arguments"] == {"to": "Ada"}
    path = f"runs/{waiting['run_id']}/approvals/"
    assert post(client_of("eve"), path, {"approvals": {pending["id"]: True}}).status_code == 404
    wrong = post(ada, path, {"approvals": {"nothing": True}})
    assert (wrong.status_code, error_of(wrong)["field"]) == (400, "approvals")
    assert asked == []
    done = post(ada, path, {"approvals": {pending["id"]: True}}).json()
    assert (done["content"], asked) == ("It is sent.", ["Ada"])
    assert post(ada, path, {"approvals": {pending["id"]: True}}).status_code == 409


def test_another_tenants_agent_is_not_found(model, ada):
    with schema_context("south"):
        make_agent(model, is_public_api=True)
    assert post(ada, "agents/helper/run/", {"input": "Hi"}).status_code == 404


def test_the_description_names_every_url(ada):
    description = ada.get("/ai/openapi.json").json()
    assert description["openapi"] == "3.1.0"
    assert description["servers"] == [{"url": "/ai"}]
    from zango_ai.urls import urlpatterns

    described = {path.replace("{", "<").replace("}", ">").strip("/") for path in description["paths"]}
    routes = {
        str(pattern.pattern).replace("str:", "").replace("path:", "").strip("/")
        for pattern in urlpatterns
        if pattern.name not in {"openapi", None}
    }
    assert described == routes
