"""Set up the example and run its agents: every kind of input, in every tenant."""

import os
from typing import Any

from clinic import worker
from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.test.utils import override_settings
from django_tenants.utils import tenant_context
from tenants.models import Clinic

from patients import setup
from patients.models import Patient
from zango_ai import LLMFile, LLMMessage, LLMResponse, get_agent
from zango_ai.exceptions import BudgetExceeded, ZangoAIError
from zango_ai.models import AgentConfig, Invocation, InvocationFile, Spend
from zango_ai.testing import Call, ModelServer, Reply

LIVE_MODELS = {"OPENAI_API_KEY": "openai", "ANTHROPIC_API_KEY": "anthropic"}


class Command(BaseCommand):
    help = "Set up two tenants, run their agents, and show the logs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--serve", action="store_true", help="serve the site afterwards, until Ctrl-C")
        parser.add_argument("--port", type=int, default=8000, help="port of the site (default: 8000)")
        parser.add_argument(
            "--live", action="store_true", help="call the real provider whose API key is in the environment"
        )

    def handle(self, *args: Any, serve: bool, port: int, live: bool, **options: Any) -> None:
        credentials = self.live_credentials() if live else None
        with ModelServer() as self.model, override_settings(ZANGO_AI={"ALLOWED_API_BASES": [self.model.url]}):
            if credentials is None:
                credentials = {
                    "openai": {"api_key": "sk-stand-in-0001", "api_base": self.model.openai_base},
                    "anthropic": {"api_key": "sk-ant-stand-in-0001", "api_base": self.model.anthropic_base},
                }
                self.step(f"Local model server at {self.model.url} (a stand-in, not a language model)")
            self.prepare(credentials)
            self.step("Celery worker, with a folder as its broker")
            with worker.running(allowed_api_base=self.model.url):
                self.run_agents(credentials)
                self.show_results()
                if serve:
                    self.serve(port)

    def run_agents(self, credentials: dict[str, dict[str, str]]) -> None:
        for clinic in setup.sites():
            self.heading(clinic.name)
            try:
                with tenant_context(clinic):
                    patient = Patient.objects.prefetch_related("visits").first()
                    assert patient is not None
                    self.run_in_tenant(clinic, patient, credentials)
            except ZangoAIError as exc:
                raise CommandError(f"{exc} (run {exc.invocation_id} of {clinic})") from exc

    def run_in_tenant(self, clinic: Clinic, patient: Patient, credentials: dict[str, dict[str, str]]) -> None:
        if "openai" in credentials:
            self.ask_front_desk()
            self.ask_about_patient(clinic, patient)
        if "anthropic" in credentials:
            self.ask_second_opinion(clinic, patient)
            self.compare_reports()
        if "openai" in credentials:
            self.converse()
            self.use_tools(patient)
            self.run_in_background(clinic, patient)

    def show_results(self) -> None:
        for clinic in setup.sites():
            self.show_log(clinic)
        self.show_separation()
        self.show_spending()
        self.heading("Reconcile the ledger")
        call_command("zango_ai_reconcile", stdout=self.stdout)

    def live_credentials(self) -> dict[str, dict[str, str]]:
        keys = {name: os.environ.get(variable, "") for variable, name in LIVE_MODELS.items()}
        if not any(keys.values()):
            raise CommandError(f"--live needs a key: set {' or '.join(LIVE_MODELS)}.")
        return {name: {"api_key": key} for name, key in keys.items() if key}

    def step(self, text: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"• {text}"))

    def prepare(self, credentials: dict[str, dict[str, str]]) -> None:
        host = settings.DATABASES["default"]
        self.step(f"PostgreSQL: {host['HOST'] or host.get('OPTIONS', {}).get('host') or 'localhost'}")
        self.step("Migrate the shared schema")
        call_command("migrate_schemas", schema_name="public", verbosity=0)
        for schema in ("public", *setup.SITES):
            self.step(f"Tenant {schema}")
            clinic = setup.create_site(schema)
            if schema != "public":
                call_command("migrate_schemas", schema_name=schema, verbosity=0)
                setup.fill_site(
                    clinic,
                    openai=credentials.get("openai", {}),
                    anthropic=credentials.get("anthropic", {}),
                )

    def ask_front_desk(self) -> None:
        question = "When are you open on Saturdays?"
        self.show("run(input=)", question, get_agent("front-desk").run(question))

    def ask_about_patient(self, clinic: Clinic, patient: Patient) -> None:
        question = "What is this patient allergic to?"
        response = get_agent("patient-summary").run(
            variables={"history": patient.history(), "question": question},
            system_variables={"clinic": clinic.name},
            triggered_by="user",
        )
        self.show("run(variables=, system_variables=)", f"(history of {patient.name}) {question}", response)

    def ask_second_opinion(self, clinic: Clinic, patient: Patient) -> None:
        messages = [
            LLMMessage("user", f"I read: {patient.history()}"),
            LLMMessage("assistant", "I have read the history."),
            LLMMessage("user", "Which follow-up is open?"),
        ]
        response = get_agent("second-opinion").run(
            messages=messages, system_variables={"clinic": clinic.name}, triggered_by="system"
        )
        self.show("run(messages=)", messages[-1].content, response)

    def converse(self) -> None:
        """Three turns. The last question needs the memory of the first."""
        session_id = None
        for question in (
            "I am Ada, and penicillin gives me a rash.",
            "When are you open?",
            "What did I tell you first?",
        ):
            response = get_agent("chat-agent").run(question, session_id=session_id, user_ref="demo")
            title = "run(), new conversation" if session_id is None else "run(session_id=)"
            session_id = response.session_id
            self.show(title, question, response)

    def use_tools(self, patient: Patient) -> None:
        """The model finds a patient, counts appointments, and adds a note after a person has approved it."""
        question = f"How often was {patient.name} here in 2026? Write down that a check-up is due."
        # The stand-in only calls tools that are scripted. With --live, the real model decides.
        self.model.script(
            Reply(calls=[Call("find_patient", {"name": patient.name})]),
            Reply(
                calls=[
                    Call("count_appointments", {"patient_id": patient.pk, "year": 2026}),
                    Call("record_note", {"patient_id": patient.pk, "text": "A check-up is due."}),
                ]
            ),
        )
        agent = get_agent("care-assistant")
        response = agent.run(question, triggered_by="user")
        self.show("run() with tools", question, response)
        if response.stop_reason == "approval_required":
            for pending in response.pending_approvals:
                self.stdout.write(f"  waits     for approval: {pending.tool_name}({dict(pending.arguments)})")
            decisions = {pending.id: True for pending in response.pending_approvals}
            response = agent.resume(response.run_id, decisions, decided_by="demo")
            self.show("resume() after approval", question, response)
        self.model.reset()
        for call in response.tool_calls:
            self.stdout.write(f"  called    {call.name}({dict(call.input)}): {call.status}, {call.result}")
        for note in patient.notes.all():
            self.stdout.write(f"  note      {note.text}")

    def run_in_background(self, clinic: Clinic, patient: Patient) -> None:
        """Queue a run, wait for the worker, and show its response."""
        question = "Which follow-ups are open?"
        run = get_agent("patient-summary").enqueue(
            variables={"history": patient.history(), "question": question},
            system_variables={"clinic": clinic.name},
        )
        self.stdout.write(f"\n  enqueue() run {run.run_id}, status: {run.status}")
        self.stdout.write(f"  wait()    status: {run.wait(timeout=120)}")
        self.show("response() of the background run", f"(history of {patient.name}) {question}", run.response())

    def compare_reports(self) -> None:
        question = "Which values have changed?"
        reports = [
            LLMFile.from_bytes(b"test,value\nHbA1c,7.1\n", "text/csv", "lab-june.csv"),
            LLMFile.from_bytes(b"test,value\nHbA1c,6.4\n", "text/csv", "lab-november.csv"),
        ]
        response = get_agent("report-analyser").run(question, files=reports, triggered_by="system")
        self.show("run(files=)", f"({', '.join(report.filename for report in reports)}) {question}", response)
        for file in InvocationFile.objects.filter(invocation=response.invocation_id):
            self.stdout.write(f"  stored    {file.filename}, {file.size_bytes} bytes, as {file.file.name}")

    def heading(self, text: str) -> None:
        self.stdout.write("")
        self.stdout.write(self.style.SUCCESS(f"── {text} " + "─" * max(0, 70 - len(text))))

    def show(self, title: str, question: str, response: LLMResponse) -> None:
        cost = f"${response.cost_usd:.8f}" if response.is_cost_known else "price unknown"
        usage = response.usage
        self.stdout.write(f"\n  {title}")
        self.stdout.write(f"  question  {question}")
        self.stdout.write("  answer    " + response.content.replace("\n", "\n            "))
        self.stdout.write(
            f"  usage     {usage.input_tokens} tokens in, {usage.output_tokens} out, {cost}, "
            f"{response.latency_ms} ms, {response.model}"
        )

    def show_log(self, clinic: Clinic) -> None:
        self.heading(f"Invocations of {clinic.name} (schema {clinic.schema_name})")
        with tenant_context(clinic):
            row = "  {:>4}  {:<16} {:<9} {:<8} {:>5} {:>5}  {:<13} {:>7}  {}"
            self.stdout.write(
                row.format("id", "agent", "provider", "status", "in", "out", "cost", "ms", "triggered by")
            )
            for run in Invocation.objects.order_by("id"):
                cost = "unknown" if run.cost_usd is None else f"${run.cost_usd}"
                self.stdout.write(
                    row.format(
                        run.id, run.agent_name, run.provider_name, run.status, run.input_tokens,
                        run.output_tokens, cost, run.latency_ms or 0, run.triggered_by,
                    )
                )  # fmt: skip

    def show_spending(self) -> None:
        """Show the spending, then set a budget of 0 and show that it blocks the next run."""
        self.heading("Spending and budgets")
        for clinic in setup.sites():
            with tenant_context(clinic):
                for month in Spend.objects.filter(owner=Spend.Owner.PROVIDER):
                    self.stdout.write(
                        f"  {clinic.name}: {month.owner_name} has spent ${month.spent_usd} this month"
                    )
        with tenant_context(setup.sites().first()):
            AgentConfig.objects.filter(name="front-desk").update(monthly_budget_usd=0)
            try:
                get_agent("front-desk").run("Are you open on Sundays?")
            except BudgetExceeded as exc:
                self.stdout.write(f"  BudgetExceeded: {exc}")
            finally:
                AgentConfig.objects.filter(name="front-desk").update(monthly_budget_usd=None)

    def show_separation(self) -> None:
        """Compare the run ids of the tenants. They are unique across schemas."""
        self.heading("Tenant isolation")
        seen = {}
        for clinic in setup.sites():
            with tenant_context(clinic):
                seen[clinic.schema_name] = set(Invocation.objects.values_list("run_id", flat=True))
        north, south = seen["north"], seen["south"]
        self.stdout.write(f"  {len(north)} runs in north, {len(south)} in south, {len(north & south)} in both.")
        if north & south:
            raise CommandError("A run is in the logs of both tenants.")

    def serve(self, port: int) -> None:
        self.heading("The site is running. Press Ctrl-C to stop it.")
        for schema in setup.SITES:
            self.stdout.write(f"  http://{schema}.localhost:{port}/        log in as admin with password admin")
        self.stdout.flush()
        with override_settings(DEBUG=True):
            call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)
