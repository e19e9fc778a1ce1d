"""Set up the example and run its agents: every kind of input, in every tenant."""

import os
from contextlib import AbstractContextManager
from typing import Any

from clinic import local_model, worker
from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.test.utils import override_settings
from django_tenants.utils import tenant_context
from tenants.models import Clinic

from patients import answering, setup
from patients.answering import Answering
from patients.demo_runs import DemoRuns
from patients.models import Patient
from zango_ai import get_agent
from zango_ai.exceptions import BudgetExceeded, ZangoAIError
from zango_ai.models import AgentConfig, Invocation, Spend


class Command(BaseCommand):
    help = "Set up two tenants, run their agents, and show the logs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--serve", action="store_true", help="serve the site afterwards, until Ctrl-C")
        parser.add_argument("--port", type=int, default=8000, help="port of the site (default: 8000)")
        answers = parser.add_mutually_exclusive_group()
        answers.add_argument(
            "--local-model", action="store_true", help="answer with a small language model on this computer"
        )
        answers.add_argument(
            "--live", action="store_true", help="call the real provider whose API key is in the environment"
        )

    def handle(self, *args: Any, serve: bool, port: int, live: bool, **options: Any) -> None:
        choose = self.live if live else self.on_this_computer if options["local_model"] else answering.stand_in
        with choose() as answers, override_settings(ZANGO_AI={"ALLOWED_API_BASES": answers.allowed_api_bases}):
            self.step(answers.description)
            self.prepare(answers)
            self.step("Celery worker, with a folder as its broker")
            with worker.running(allowed_api_bases=answers.allowed_api_bases):
                self.run_agents(answers)
                self.show_results()
                if not answers.is_on_this_computer:  # its calls cost nothing, and may pass a budget of 0
                    self.exceed_budget()
                self.reconcile()
                if serve:
                    self.serve(port, answers)

    def live(self) -> AbstractContextManager[Answering]:
        if not any(map(os.environ.get, answering.LIVE_KEYS.values())):
            raise CommandError(f"--live needs a key: set {' or '.join(answering.LIVE_KEYS.values())}.")
        return answering.live()

    def on_this_computer(self) -> AbstractContextManager[Answering]:
        reason = local_model.missing()
        if reason:
            self.stdout.write(self.style.WARNING(f"No local model: {reason} The stand-in answers instead."))
            return answering.stand_in()
        return answering.on_this_computer()

    def run_agents(self, answers: Answering) -> None:
        for clinic in setup.sites():
            self.heading(clinic.name)
            try:
                with tenant_context(clinic):
                    patient = Patient.objects.prefetch_related("visits").first()
                    assert patient is not None
                    DemoRuns(clinic, patient, answers, self.stdout).all()
            except ZangoAIError as exc:
                raise CommandError(f"{exc} (run {exc.invocation_id} of {clinic})") from exc

    def show_results(self) -> None:
        for clinic in setup.sites():
            self.show_log(clinic)
        self.show_separation()
        self.show_spending()

    def reconcile(self) -> None:
        self.heading("Reconcile the ledger")
        call_command("zango_ai_reconcile", stdout=self.stdout)

    def step(self, text: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"• {text}"))

    def prepare(self, answers: Answering) -> None:
        host = settings.DATABASES["default"]
        self.step(f"PostgreSQL: {host['HOST'] or host.get('OPTIONS', {}).get('host') or 'localhost'}")
        self.step("Migrate the shared schema")
        call_command("migrate_schemas", schema_name="public", verbosity=0)
        for schema in ("public", *setup.SITES):
            self.step(f"Tenant {schema}")
            clinic = setup.create_site(schema)
            if schema != "public":
                call_command("migrate_schemas", schema_name=schema, verbosity=0)
                setup.fill_site(clinic, answers)

    def heading(self, text: str) -> None:
        self.stdout.write("")
        self.stdout.write(self.style.SUCCESS(f"── {text} " + "─" * max(0, 70 - len(text))))

    def show_log(self, clinic: Clinic) -> None:
        self.heading(f"Invocations of {clinic.name} (schema {clinic.schema_name})")
        with tenant_context(clinic):
            row = "  {:>4}  {:<16} {:<9} {:<8} {:>5} {:>5}  {:<13} {:>7}  {}"
            self.stdout.write(
                row.format("id", "agent", "provider", "status", "in", "out", "cost", "ms", "triggered by")
            )
            for run in Invocation.objects.order_by("id"):
                cost = "unknown" if run.cost_usd is None else f"${run.cost_usd:.8f}"
                self.stdout.write(
                    row.format(
                        run.id, run.agent_name, run.provider_name, run.status, run.input_tokens,
                        run.output_tokens, cost, run.latency_ms or 0, run.triggered_by,
                    )
                )  # fmt: skip

    def show_spending(self) -> None:
        self.heading("Spending and budgets")
        for clinic in setup.sites():
            with tenant_context(clinic):
                for month in Spend.objects.filter(owner=Spend.Owner.PROVIDER):
                    self.stdout.write(
                        f"  {clinic.name}: {month.owner_name} has spent ${month.spent_usd:.8f} this month"
                    )

    def exceed_budget(self) -> None:
        """Set a budget of 0, and show that it blocks the next run."""
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

    def serve(self, port: int, answers: Answering) -> None:
        self.heading("The site is running. Press Ctrl-C to stop it.")
        self.stdout.write(f"  {answers.description}")
        for schema in setup.SITES:
            self.stdout.write(f"  http://{schema}.localhost:{port}/        log in as admin with password admin")
        self.stdout.flush()
        with override_settings(DEBUG=True):
            call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)
