from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import sanitize, tenancy
from ...agent import Agent
from ...encryption.credentials import Credentials
from ...exceptions import ZangoAIError
from ...models import AgentConfig, Provider
from ...providers.kinds import KINDS
from .. import bootstrap
from ..bootstrap import Wanted
from ..per_tenant import chosen_schemas, migrated_tenant
from ..questions import Questions, variable

_SYSTEM_PROMPT = "You are a helpful assistant. Answer briefly."
_QUESTION = "Say hello in one sentence."
_MAX_SUGGESTED = 15


class Command(BaseCommand):
    help = (
        "Create a first provider, prompt and agent in a tenant, test the connection, and ask the agent a question. "
        "Asks for what the options leave open. The test and the question are billed by the vendor."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--schema", help="schema of the tenant; may be left out if there is only one")
        parser.add_argument("--provider", metavar="NAME", help="name of the provider (default: main)")
        parser.add_argument("--kind", choices=list(KINDS), help="kind of a new provider")
        parser.add_argument("--api-key-env", metavar="VARIABLE", help="environment variable with the API key")
        parser.add_argument("--api-base", metavar="URL", help="address of the vendor or server")
        parser.add_argument(
            "--credential", action="append", metavar="NAME=VALUE", help="another setting (repeatable)"
        )
        parser.add_argument(
            "--credential-env",
            action="append",
            metavar="NAME=VARIABLE",
            help="another secret, from an environment variable (repeatable)",
        )
        parser.add_argument("--model", help="model of the agent, and default model of a new provider or kind")
        parser.add_argument("--agent", metavar="NAME", help="name of the agent (default: assistant)")
        parser.add_argument("--system-prompt", metavar="TEXT", help=f"the agent's instructions ({_SYSTEM_PROMPT})")
        parser.add_argument("--question", default=_QUESTION, help=f"the first question (default: {_QUESTION})")
        parser.add_argument("--update", action="store_true", help="change a provider or agent that exists already")
        parser.add_argument("--no-test", action="store_true", help="neither test the connection nor ask a question")
        parser.add_argument("--no-input", action="store_true", help="never ask: the options say everything")

    def handle(self, *args: Any, schema: str | None, **options: Any) -> None:
        self._questions = Questions(self.stdout, is_interactive=not options["no_input"])
        schema = self._schema(schema)
        with migrated_tenant(schema):
            wanted = self._wanted(options)
            while not options["no_test"] and not self._is_answered(wanted):
                wanted = self._wanted(options)
            agent = bootstrap.save(wanted)
            self._report(schema, wanted)
            if not options["no_test"]:
                self._ask(agent, options["question"])

    def _schema(self, schema: str | None) -> str:
        schemas = chosen_schemas(schema)
        if not schemas:
            raise CommandError("There is no tenant yet. Create one first.")
        return schemas[0] if len(schemas) == 1 else self._questions.choice("Tenant", "--schema", schemas)

    def _is_answered(self, wanted: Wanted) -> bool:
        """Test the connection. False if it fails and the user enters it again. Raises CommandError."""
        try:
            bootstrap.require_answer(wanted.provider, wanted.model)
        except CommandError as exc:
            if not self._questions.is_interactive:
                raise
            self.stderr.write(str(exc))
            if self._questions.is_confirmed("Enter the provider again?"):
                return False
            raise CommandError("Nothing was saved.") from None
        self.stdout.write(f"The connection works: {wanted.model} answered.")
        return True

    def _wanted(self, options: Mapping[str, Any]) -> Wanted:
        provider = self._provider(options)
        model = options["model"] or self._model(provider)
        bootstrap.require_allowed(provider.name, model)
        name = options["agent"] or self._questions.text("Name of the agent", "--agent", "assistant")
        agent = AgentConfig.objects.filter(name=name).select_related("system_prompt__active_version").first()
        if agent is not None:
            self._require_update(f"Agent {name!r}", options)
        before = agent.system_prompt.content if agent is not None and agent.system_prompt else ""
        prompt = options["system_prompt"] or self._questions.text(
            "Instructions for the agent", "--system-prompt", before or _SYSTEM_PROMPT
        )
        return Wanted(provider, model, name, None if prompt == before else prompt)

    def _provider(self, options: Mapping[str, Any]) -> Provider:
        """The provider to use: one that exists, or one that is not saved yet."""
        name = options["provider"] or self._questions.text("Name of the provider", "--provider", "main")
        saved = Provider.objects.filter(name=name).first()
        given = ("kind", "api_key_env", "api_base", "credential", "credential_env")
        is_changed = any(options[key] for key in given)
        if saved is not None and not is_changed:
            self.stdout.write(f"Provider {name!r} exists and is used as it is.")
            return saved
        if saved is not None:
            self._require_update(f"Provider {name!r}", options)
        kind = options["kind"] or (saved.kind if saved else self._kind())
        return bootstrap.unsaved_provider(name, kind, self._credentials(kind, options))

    def _kind(self) -> str:
        labels = [kind.label for kind in KINDS.values()]
        return self._questions.choice("Kind of provider", "--kind", list(KINDS), labels)

    def _credentials(self, kind: str, options: Mapping[str, Any]) -> Credentials:
        values = _pairs("--credential", options["credential"])
        for slot in KINDS[kind].slots:
            if slot.is_secret and slot.name in values:
                raise CommandError(f"{slot.name} is secret: use --credential-env {slot.name}=VARIABLE.")
        names = _pairs("--credential-env", options["credential_env"])
        if options["api_key_env"]:
            names["api_key"] = options["api_key_env"]
        if options["api_base"]:
            values["api_base"] = options["api_base"]
        credentials = Credentials({**values, **{name: variable(each) for name, each in names.items()}})
        if self._questions.is_interactive:
            for slot in KINDS[kind].slots:
                if (slot.is_required or slot.is_secret) and slot.name not in credentials:
                    credentials[slot.name] = self._questions.credential(kind, slot)
        return Credentials({name: value for name, value in credentials.reveal().items() if value})

    def _model(self, provider: Provider) -> str:
        if not self._questions.is_interactive:
            if provider.default_model:
                return provider.default_model
            raise CommandError("--model is missing.")
        try:
            names = bootstrap.suggested_models(provider)
        except ZangoAIError as exc:
            self.stderr.write(f"The models could not be listed. {exc}")
            names = []
        if names:
            others = len(names) - _MAX_SUGGESTED
            more = f" and {others} more" if others > 0 else ""
            self.stdout.write(f"Models: {', '.join(names[:_MAX_SUGGESTED])}{more}")
        default = provider.default_model or (names[0] if len(names) == 1 else "")
        return self._questions.text("Model", "--model", default)

    def _require_update(self, what: str, options: Mapping[str, Any]) -> None:
        if options["update"] or self._questions.is_confirmed(f"{what} exists. Change it?"):
            return
        raise CommandError(f"{what} exists. Choose another name, or change it with --update. Nothing was saved.")

    def _report(self, schema: str, wanted: Wanted) -> None:
        provider = wanted.provider
        label = KINDS[provider.kind].label
        where = f" in {schema}" if tenancy.has_tenants() else ""
        agent = f"{wanted.agent}{tenancy.schema_option(schema)}"
        self.stdout.write(
            f"Saved{where}: provider {provider.name} ({label}, {wanted.model}), agent {wanted.agent}."
        )
        address = bootstrap.admin_address(wanted.agent, schema)
        self.stdout.write(
            "\nCall it:\n"
            "    from zango_ai import get_agent\n"
            f'    get_agent("{wanted.agent}").run("How are you?").content\n'
            f'    python manage.py zango_ai_run {agent} --input "How are you?"\n'
            + (f"Its page in the admin: {address}\n" if address else "")
        )

    def _ask(self, agent: Agent, question: str) -> None:
        self.stdout.write(f"You: {question}")
        try:
            response = agent.run(question, triggered_by="system")
        except ZangoAIError as exc:
            problem = f"{type(exc).__name__}: {exc}"
            raise CommandError(f"The agent is saved, but its first run failed. {problem}") from None
        self.stdout.write(f"{agent.name}: {sanitize.sendable(response.content)}")


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = [each.partition("=") for each in given or ()]
    for name, sign, _value in pairs:
        if not sign or not name:
            raise CommandError(f"{option} {name}: use NAME=VALUE.")
    return {name: value for name, _sign, value in pairs}
