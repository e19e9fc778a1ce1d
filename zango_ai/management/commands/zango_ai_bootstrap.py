from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import sanitize, tenancy
from ...agent import Agent
from ...encryption.credentials import Credentials
from ...exceptions import ZangoAIError
from ...models import AgentConfig, Provider
from ...providers.kinds import KINDS
from .. import bootstrap
from ..bootstrap import Saved, Wanted
from ..per_tenant import chosen_schemas, migrated_tenant
from ..questions import Questions, variable

_SYSTEM_PROMPT = "You are a helpful assistant. Answer briefly."
_QUESTION = "Say hello in one sentence."
_MAX_SUGGESTED = 15
_AGENT = "assistant"
_PROVIDER_OPTIONS = ("kind", "api_key_env", "api_base", "credential", "credential_env")


class Command(BaseCommand):
    help = (
        "Create a first provider, prompt and agent in a tenant, test the connection, and ask the agent a question. "
        "Asks for what the options leave open. The test and the question are billed by the vendor."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--schema", help="schema of the tenant; may be left out if there is only one")
        parser.add_argument("--provider", metavar="NAME", help="name of the provider (default: main)")
        parser.add_argument("--kind", choices=list(KINDS), help="kind of the provider")
        parser.add_argument("--api-key-env", metavar="VARIABLE", help="environment variable with the API key")
        parser.add_argument("--api-base", metavar="URL", help="address of the vendor or server")
        parser.add_argument(
            "--credential",
            action="append",
            metavar="NAME=VALUE",
            help="another setting (repeatable); an empty value removes it",
        )
        parser.add_argument(
            "--credential-env",
            action="append",
            metavar="NAME=VARIABLE",
            help="another secret, from an environment variable (repeatable)",
        )
        parser.add_argument("--model", help="model of the agent, and default model of a new provider or kind")
        parser.add_argument("--agent", metavar="NAME", help="name of the agent (default: assistant)")
        parser.add_argument(
            "--system-prompt",
            metavar="TEXT",
            help=f"the agent's instructions, empty for none (default: {_SYSTEM_PROMPT})",
        )
        parser.add_argument("--question", default=_QUESTION, help=f"the first question (default: {_QUESTION})")
        parser.add_argument("--update", action="store_true", help="change what the options name, and keep the rest")
        parser.add_argument("--no-test", action="store_true", help="neither test the connection nor ask a question")
        parser.add_argument("--no-input", action="store_true", help="never ask: the options say everything")

    def handle(self, *args: Any, schema: str | None, **options: Any) -> None:
        self._questions = Questions(self.stdout, is_interactive=not options["no_input"])
        self._asks = self._questions.is_interactive
        schema = self._schema(schema)
        with migrated_tenant(schema):
            wanted = self._wanted(options)
            while not options["no_test"] and not self._is_answered(wanted):
                wanted = self._wanted(options)
            saved = bootstrap.save(wanted)
            self._report(schema, wanted, saved)
            if saved.agent is not None and not options["no_test"]:
                self._ask(saved.agent, options["question"])

    def _schema(self, schema: str | None) -> str:
        schemas = chosen_schemas(schema)
        if not schemas:
            raise CommandError("There is no tenant yet. Create one first.")
        return schemas[0] if len(schemas) == 1 else self._questions.choice("Tenant", "--schema", schemas)

    def _is_answered(self, wanted: Wanted) -> bool:
        """Test the connection. False if it fails and the user enters it again. Raises CommandError."""
        try:
            bootstrap.require_answer(wanted.provider, wanted.tested_model)
        except CommandError as exc:
            if not self._questions.is_interactive:
                raise
            self.stderr.write(str(exc))
            if self._questions.is_confirmed("Enter the provider again?"):
                return False
            raise CommandError("Nothing was saved.") from None
        self.stdout.write(f"The connection works: {wanted.tested_model} answered.")
        return True

    def _wanted(self, options: Mapping[str, Any]) -> Wanted:
        """What to create or to change. With --update, what no option names stays as it is."""
        given = {name for name in (*_PROVIDER_OPTIONS, "model", "system_prompt") if options[name] is not None}
        self._asks = self._questions.is_interactive and not (options["update"] and given)
        name = options["agent"]
        is_about_agent = bool(given & {"model", "system_prompt"}) or not (given or self._asks)
        if name is None and options["update"] and is_about_agent:
            name = self._questions.text("Name of the agent", "--agent", _AGENT)
        agent = bootstrap.find_agent(name)
        provider = self._provider(options, agent)
        if options["update"] and name is None and given and provider.pk is not None:
            return Wanted(provider, self._model_in_use(provider, options))
        model = options["model"]
        if model is None and (agent is None or self._asks or not self._kept_model(provider, agent)):
            model = self._model(provider)
        if model is not None:
            bootstrap.require_allowed(provider.name, model)
        name = name or self._questions.text("Name of the agent", "--agent", _AGENT)
        agent = bootstrap.find_agent(name)
        if agent is not None:
            self._require_update(f"Agent {name!r}", options)
        tested = model or (self._kept_model(provider, agent) if agent else "")
        return Wanted(provider, tested, name, model, self._system_prompt(options, agent))

    def _system_prompt(self, options: Mapping[str, Any], agent: AgentConfig | None) -> str | None:
        """The text for the agent; None to keep the one that it has."""
        before = bootstrap.prompt_of(agent) if agent is not None else ""
        prompt: str | None = options["system_prompt"]
        if prompt is None and agent is not None and not self._asks:
            return None
        if prompt is None:
            option = "--system-prompt"
            prompt = self._questions.text("Instructions for the agent", option, before or _SYSTEM_PROMPT)
        return None if agent is not None and prompt == before else prompt

    def _provider(self, options: Mapping[str, Any], agent: AgentConfig | None) -> Provider:
        """The provider to use, as it is to be saved: that of the agent, unless an option names another."""
        own = agent.provider.name if agent is not None else None
        name = options["provider"] or own or self._questions.text("Name of the provider", "--provider", "main")
        saved = Provider.objects.filter(name=name).first()
        if saved is not None and all(options[key] is None for key in _PROVIDER_OPTIONS):
            self.stdout.write(f"Provider {name!r} exists and is used as it is.")
            return saved
        if saved is not None:
            self._require_update(f"Provider {name!r}", options)
        provider = saved or Provider(name=name)
        kind = options["kind"] or provider.kind or self._kind()
        if kind != provider.kind:
            provider.default_model = ""
        removed = bootstrap.change_provider(provider, kind, self._given_credentials(kind, options))
        self._complete(provider, removed)
        bootstrap.require_valid(provider)
        return provider

    def _complete(self, provider: Provider, removed: Sequence[str]) -> None:
        """Ask for the credentials that the provider lacks. ``removed``: secrets of another address."""
        if removed and not self._questions.is_interactive:
            raise CommandError(
                f"Provider {provider.name!r}: a saved secret is not sent to another address. "
                f"Give {removed[0]} again, with --credential-env {removed[0]}=VARIABLE. Nothing was saved."
            )
        if not self._questions.is_interactive:
            return
        for slot in KINDS[provider.kind].slots:
            is_asked = slot.is_required or slot.name in removed or (self._asks and slot.is_secret)
            if is_asked and slot.name not in provider.credentials:
                provider.credentials[slot.name] = self._questions.credential(provider.kind, slot)
                if not provider.credentials[slot.name]:
                    del provider.credentials[slot.name]

    def _kind(self) -> str:
        labels = [kind.label for kind in KINDS.values()]
        return self._questions.choice("Kind of provider", "--kind", list(KINDS), labels)

    def _given_credentials(self, kind: str, options: Mapping[str, Any]) -> Credentials:
        values = _pairs("--credential", options["credential"])
        for slot in KINDS[kind].slots:
            if slot.is_secret and values.get(slot.name):
                raise CommandError(f"{slot.name} is secret: use --credential-env {slot.name}=VARIABLE.")
        names = _pairs("--credential-env", options["credential_env"])
        if options["api_key_env"] is not None:
            names["api_key"] = options["api_key_env"]
        if options["api_base"] is not None:
            values["api_base"] = options["api_base"]
        return Credentials({**values, **{name: variable(each) for name, each in names.items()}})

    def _kept_model(self, provider: Provider, agent: AgentConfig) -> str:
        """The model that the agent has, unless the provider's kind changes."""
        return (agent.model if bootstrap.has_kind(provider) else "") or provider.default_model

    def _model_in_use(self, provider: Provider, options: Mapping[str, Any]) -> str:
        """A model to test the provider with."""
        if bootstrap.has_kind(provider):
            in_use = provider.default_model or min(provider.models_in_use(), default="")
            if in_use or options["no_test"]:
                return in_use
        return self._model(provider)

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

    def _report(self, schema: str, wanted: Wanted, saved: Saved) -> None:
        provider = wanted.provider
        used = ", ".join(filter(None, [KINDS[provider.kind].label, wanted.tested_model]))
        where = f" in {schema}" if tenancy.has_tenants() else ""
        agent = f", agent {wanted.agent}" if wanted.agent else ""
        self.stdout.write(f"Saved{where}: provider {provider.name} ({used}){agent}.")
        if not saved.is_all_new:
            self.stdout.write(f"Changed: {', '.join(saved.changes) or 'nothing'}.")
        if wanted.agent:
            self._report_calls(schema, wanted.agent)

    def _report_calls(self, schema: str, agent: str) -> None:
        """Print how to call the agent."""
        address = bootstrap.admin_address(agent, schema)
        self.stdout.write(
            "\nCall it:\n"
            "    from zango_ai import get_agent\n"
            f'    get_agent("{agent}").run("How are you?").content\n'
            f'    python manage.py zango_ai_run {agent}{tenancy.schema_option(schema)} --input "How are you?"\n'
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
