"""The Python examples of the how-to pages run as they are written, against the local model server."""

import contextvars
import logging
import os
import re
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models.signals import post_migrate
from django.http import HttpResponse
from opentelemetry import metrics, trace
from patients.models import Patient

from tests.build import API_KEY, make_agent, make_prompt, make_provider
from zango_ai import LLMFile, LLMMessage, aget_agent, define_provider, get_agent, get_provider, get_run
from zango_ai.configuration import tool_rows
from zango_ai.models import AgentConfig, Prompt, Provider, Tool
from zango_ai.runs.resumption import execute_queued
from zango_ai.signals import run_finished
from zango_ai.testing import Call, Reply
from zango_ai.tools import registry

HOW_TO = Path(__file__).resolve().parents[3] / "docs" / "how-to"
INVOICE = '{"total": 12.5, "currency": "EUR"}'


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", (HOW_TO / page).read_text(), re.MULTILINE | re.DOTALL)


def run_block(page, words, **names):
    """Execute the only block of the page that contains ``words``; the names that it defines."""
    (block,) = [block for block in blocks(page) if words in block]
    namespace: dict[str, Any] = {"__name__": "patients.docs", "__package__": "patients", **names}
    exec(compile(block, page, "exec"), namespace)
    return SimpleNamespace(**namespace)


@pytest.fixture
def provider(model, north):
    return make_provider(model)


@pytest.fixture
def request_():
    user = SimpleNamespace(pk=7, username="nurse")
    return SimpleNamespace(user=user, session={}, GET={"question": "Open?"}, tenant=SimpleNamespace(name="North"))


@pytest.fixture
def patient(north):
    return Patient.objects.create(name="Ada Berger", born=date(1957, 3, 9))


def test_the_readme_calls_an_agent(model, provider, patient, request_):
    make_agent(model, "patient-summary", provider=provider, user_prompt=make_prompt("{{ history }} {{ question }}"))
    readme = (HOW_TO.parents[1] / "README.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    namespace = {"patient": patient, "request": request_}
    exec(compile(block, "README.md", "exec"), namespace)
    assert "allergic" in model.requests[-1].body["messages"][-1]["content"]


def test_run_an_agent(model, provider, request_, capsys):
    page = "run-an-agent.md"
    make_agent(model, "front-desk", provider=provider)
    make_agent(model, "second-opinion", provider=provider)
    model.script("From nine to noon.")
    run_block(page, "print(response.content)")
    assert capsys.readouterr().out == "From nine to noon.\n"
    run_block(page, "LLMMessage(", get_agent=get_agent)
    assert [message["role"] for message in model.requests[-1].body["messages"]] == ["user", "assistant", "user"]
    run_block(page, "max_tokens=300", get_agent=get_agent)
    assert model.requests[-1].body["model"] == "gpt-5.4"
    model.script(Reply("slow down", status=429, headers={"retry-after": "3"}))
    names = run_block(page, "except RateLimitExceeded", question="Open?", logger=logging.getLogger("docs"))
    assert names.wait == 3


def test_call_a_provider(model, provider, capsys):
    page = "call-a-provider.md"
    make_prompt("Remind {{ name }} of {{ time }}.", name="reminder")
    model.script("À neuf heures.")
    run_block(page, "print(response.content)")
    assert capsys.readouterr().out == "À neuf heures.\n"
    run_block(page, "prompt.render(")
    assert model.requests[-1].body["messages"] == [{"role": "user", "content": "Remind Ada of 9:00."}]


def test_an_agent_is_created_in_code(model, north):
    page = "run-an-agent.md"
    agent = run_block(page, "define_agent(", api_key="sk-test").agent
    assert [tool.name for tool in AgentConfig.objects.get().tools.all()] == ["find_patient"]
    define_provider("main", credentials={"api_key": "sk-test", "api_base": model.openai_base})
    model.script('{"urgency": "high"}')
    response = agent.run(variables={"message": "Pain"}, system_variables={"clinic": "North"})
    assert response.parsed_content == {"urgency": "high"}
    sent = [message["content"] for message in model.requests[-1].body["messages"]]
    assert sent[0] == "You sort the messages of patients of North."
    assert sent[1] == "How urgent is this message?\n\nPain"


def test_agents_are_defined_in_code(model, north, monkeypatch):
    page = "manage-configuration-as-code.md"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    run_block(page, "os.environ")
    assert AgentConfig.objects.get(name="patient-summary").tools.get().name == "find_patient"
    define_agents = run_block(page, "post_migrate.connect").define_agents
    post_migrate.connect(define_agents, sender=apps.get_app_config("patients"))
    call_command("migrate_schemas", schema_name="north", verbosity=0, interactive=False)
    call_command("migrate_schemas", "--shared", verbosity=0, interactive=False)
    post_migrate.disconnect(define_agents, sender=apps.get_app_config("patients"))
    connection.set_schema("north")
    assert AgentConfig.objects.get(name="greeter").user_prompt.content == "Greet {{ name }}."


def test_a_migration_defines_an_agent(model, north):
    migration = run_block("manage-configuration-as-code.md", "RunPython").Migration("0002_agents", "patients")
    loader = MigrationExecutor(connection).loader
    newest = loader.graph.leaf_nodes("zango_ai") + loader.graph.leaf_nodes("patients")
    assert sorted(migration.dependencies) == sorted(newest)
    with connection.schema_editor(atomic=False) as editor:
        migration.apply(loader.project_state(), editor)
    assert AgentConfig.objects.get(name="greeter").provider.validation_error.startswith("provider main: enter")


def test_a_migration_creates_a_prompt(model, provider):
    state = MigrationExecutor(connection).loader.project_state()
    run_block("manage-configuration-as-code.md", "def create_prompt").create_prompt(state.apps, None)
    make_agent(model, "greeter", provider=provider, user_prompt=Prompt.objects.get(name="greeting"))
    get_agent("greeter").run(variables={"name": "Ada"})
    assert model.requests[-1].body["messages"][-1]["content"] == "Greet Ada."


def test_an_async_view_calls_an_agent(model, provider, request_):
    make_agent(model, "front-desk", provider=provider)
    view = run_block("run-an-agent.md", "async def view", HttpResponse=HttpResponse).view
    assert "Open?" in async_to_sync(view)(request_).content.decode()


def test_async_code_reads_a_stream(model, provider, capsys):
    make_agent(model, "front-desk", provider=provider)
    model.script("From nine to noon.")
    print_answer = run_block("run-an-agent.md", "def print_answer", aget_agent=aget_agent).print_answer
    async_to_sync(print_answer)("Open?")
    assert capsys.readouterr().out == "From nine to noon."


def test_a_provider_streams(model, provider, capsys):
    model.script("See you at nine.")
    run_block("call-a-provider.md", ".stream(messages)", LLMMessage=LLMMessage, get_provider=get_provider)
    assert capsys.readouterr().out == "See you at nine."


def test_get_json_answers(model, provider):
    page = "answer-in-json.md"
    make_agent(
        model,
        "structured-extractor",
        provider=provider,
        output_schema="json",
        user_prompt=make_prompt("Extract: {{ document }}"),
    )
    given = {"text": "12.50 EUR", "get_agent": get_agent}
    model.script(INVOICE, INVOICE, INVOICE)
    assert run_block(page, "response.parsed_content", **given).response.parsed_content["total"] == 12.5
    names = run_block(page, "class Invoice", **given)
    assert isinstance(names.invoice, names.Invoice)
    assert run_block(page, 'output_type={"type"', **given).response.parsed_content["currency"] == "EUR"


def test_remember_conversations(model, provider, request_):
    make_agent(model, "chat-agent", provider=provider, short_term_memory=True)
    for question in ("I am Ada.", "Who am I?"):
        run_block(
            "remember-conversations.md", "chat_session", question=question, request=request_, get_agent=get_agent
        )
    assert model.requests[-1].body["messages"][0]["content"] == "I am Ada."


def test_send_files(model, provider):
    make_agent(model, "report-analyser", provider=provider)
    case = SimpleNamespace(report_jan="January: 7.1", report_feb="February: 6.4")

    def text_file(text):
        return LLMFile.from_bytes(text.encode(), "text/plain", "report.txt")

    page = "send-files.md"
    (block,) = [block for block in blocks(page) if "from_django_file" in block]
    stand_in = SimpleNamespace(from_django_file=text_file)
    code = block.replace("from zango_ai import LLMFile, get_agent", "")
    exec(compile(code, page, "exec"), {"case": case, "LLMFile": stand_in, "get_agent": get_agent})
    assert "February: 6.4" in str(model.requests[-1].body["messages"])


def test_a_background_run_is_streamed_and_cancelled(model, provider, patient):
    page = "run-in-the-background.md"
    make_agent(model, "patient-summary", provider=provider, user_prompt=make_prompt("{{ history }}"))
    run = run_block(page, "stream=True)", get_agent=get_agent, patient=patient).run
    model.script("She is well.")
    execute_queued(str(run.run_id), celery_task_id="1")
    read = run_block(page, "after=last_number", get_run=get_run, run_id=run.run_id, last_number=0, text="")
    assert read.text == read.response.content == "She is well."
    other = run_block(page, "stream=True)", get_agent=get_agent, patient=patient).run
    assert run_block(page, ".cancel()", get_run=get_run, run_id=other.run_id).is_cancelled


def test_limit_spending(model, provider):
    page = "limit-spending.md"
    make_agent(
        model,
        "patient-summary",
        provider=provider,
        monthly_budget_usd=0,
        user_prompt=make_prompt("Summarize {{ history }}"),
    )
    run_block(page, "except BudgetExceeded", values={"history": "none"}, get_agent=get_agent)
    assert model.requests == []
    model.script(Reply("slow down", status=429, headers={"retry-after": "3"}))
    agent = make_agent(model, "helper", provider=provider)
    run_block(page, "except RateLimitExceeded", agent=get_agent(agent.name))


def test_a_tool_is_declared_synced_and_approved(model, provider, patient, monkeypatch):
    page = "give-an-agent-tools.md"
    monkeypatch.setattr(registry, "_tools", {})  # the example project has tools of these names
    names = run_block(page, "Find patients by name")
    assert names.find_patient(name="Ada")[0]["id"] == patient.pk
    run_block(page, "def list_beds", ToolParam=names.ToolParam)
    tool_rows.sync()
    agent = make_agent(model, "care-assistant", provider=provider)
    agent.tools.set(Tool.objects.filter(section="patients"))
    run_block(page, "How often was Ada", get_agent=get_agent)
    notes = [Call("record_note", {"patient_id": patient.pk, "text": text}) for text in ("one", "two")]
    model.script(Reply(calls=notes), "Done.")
    page = "approve-tool-calls.md"
    run_block(page, "def delete_note")
    run_block(page, "def in_words", tool=names.tool, ToolSafety=names.ToolSafety, Patient=Patient)
    waiting = run_block(page, "pending.expires_at", get_agent=get_agent).response
    pending_id, other_id = (pending.id for pending in waiting.pending_approvals)
    done = run_block(
        page,
        ".resume(",
        get_agent=get_agent,
        run_id=waiting.run_id,
        pending_id=pending_id,
        other_id=other_id,
        user=SimpleNamespace(username="nurse"),
    )
    assert done.response.content == "Done."
    assert patient.notes.get().text == "one"


def test_a_provider_and_an_agent_are_added_to_a_project(model, north, request_):
    page = "add-to-a-project.md"
    run_block(page, "define_agent(", api_key="sk-test")
    provider = Provider.objects.get(name="main")
    provider.credentials = {"api_key": "sk-test", "api_base": model.openai_base}
    provider.save()
    request_.user.is_authenticated = True
    assert "Open?" in run_block(page, "def ask(").ask(request_).content.decode()


def test_a_key_of_ones_own_is_set_and_the_derived_one_still_decrypts(model, provider, settings, monkeypatch):
    monkeypatch.setenv("AI_ENCRYPTION_KEY", Fernet.generate_key().decode())
    names = run_block("secure.md", "derive_key(SECRET_KEY)", os=os, SECRET_KEY=settings.SECRET_KEY)
    settings.ZANGO_AI = {**settings.ZANGO_AI, **names.ZANGO_AI}
    call_command("zango_ai_rotate_keys", schema=["north"])
    settings.ZANGO_AI = {**settings.ZANGO_AI, "ENCRYPTION_KEYS": names.ZANGO_AI["ENCRYPTION_KEYS"][:1]}
    assert Provider.objects.get(pk=provider.pk).credentials["api_key"] == API_KEY


def test_a_tool_finds_the_patient_who_asks(model, provider, patient, request_, monkeypatch):
    monkeypatch.setattr(registry, "_tools", {})
    names = run_block("secure.md", "current_patient: ContextVar")
    patient.visits.create(on=date(2026, 9, 3), reason="Dizziness")
    tool_rows.sync()
    make_agent(model, "my-assistant", provider=provider).tools.set(Tool.objects.filter(name="my_appointments"))
    request_.POST = {"question": "When was I here?"}
    model.script(Reply(calls=[Call("my_appointments", {})]), "In September.")
    assert contextvars.copy_context().run(names.ask, request_, patient) == "In September."
    assert "Dizziness" in model.requests[-1].body["messages"][-1]["content"]


def test_a_self_hosted_model_is_used(model, north):
    page = "use-a-self-hosted-model.md"
    assert run_block(page, "ALLOWED_API_BASES").ZANGO_AI == {"ALLOWED_API_BASES": ["http://127.0.0.1:8080"]}
    (block,) = [block for block in blocks(page) if "define_provider(" in block]
    exec(compile(block.replace("http://127.0.0.1:8080/v1", model.openai_base), page, "exec"), {})
    response = get_agent("local-helper").run("Hello")
    assert (response.cost_usd, response.is_cost_known) == (0, True)


def test_observe_runs(model, provider, caplog, monkeypatch):
    page = "observe-runs.md"
    make_agent(model, "front-desk", provider=provider)
    names = run_block(page, "@receiver(run_finished)")
    with caplog.at_level(logging.INFO, "ai.costs"):
        get_agent("front-desk").run("Open?")
    run_finished.disconnect(names.log_costs)
    assert "north front-desk: success" in caplog.text
    taken: dict[str, Any] = {}
    monkeypatch.setattr(trace, "set_tracer_provider", lambda provider: taken.update(traces=provider))
    monkeypatch.setattr(metrics, "set_meter_provider", lambda provider: taken.update(metrics=provider))
    run_block(page, "set_tracer_provider")
    assert taken["traces"].resource.attributes["service.name"] == "clinic"
    for provider_ in taken.values():
        provider_.shutdown()
    assert run_block(page, "DropAggregation").views
