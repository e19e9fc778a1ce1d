"""Run an agent from a shell or cron."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import exceptions, sanitize, tenancy
from ...agent import Agent, get_agent
from ...exceptions import ZangoAIError
from ...files.file import LLMFile
from ...runs.arguments import RunArguments
from ...types import TRIGGERS, LLMResponse, LLMStreamChunk
from ..per_tenant import chosen_schema

EXIT_CODES: dict[int, tuple[type[Exception], ...]] = {
    3: (exceptions.NotFoundError, exceptions.DisabledError),
    4: (exceptions.BudgetExceeded, exceptions.PriceUnknown),
    5: (exceptions.RateLimitExceeded,),
    6: (exceptions.LLMTimeoutError,),
    7: (exceptions.LLMAPIError,),
    8: (exceptions.OutputError,),
}
"""The exit code for each exception. 1 is any other error, 2 wrong arguments."""
AWAITING_APPROVAL = 9
_VALUE_OPTIONS = " Options of this command: --var NAME=VALUE and --system-var NAME=VALUE."

_EPILOG = """
Exit codes: 0 success; 1 other error; 2 wrong arguments; 3 agent or tenant not found, or disabled; 4 budget exceeded
or price unknown; 5 rate limited; 6 timeout; 7 provider error; 8 invalid output; 9 awaiting approval of a tool call.
"""


class Command(BaseCommand):
    help = "Run an agent and print its answer. " + _EPILOG.strip()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("agent", help="name of the agent")
        parser.add_argument("--schema", help="schema of the tenant; may be left out if there is only one")
        parser.add_argument("--input", help="the user's message; - reads it from standard input")
        parser.add_argument(
            "--var", action="append", metavar="NAME=VALUE", help="variable of the user prompt (repeatable)"
        )
        parser.add_argument(
            "--system-var", action="append", metavar="NAME=VALUE", help="variable of the system prompt (repeatable)"
        )
        parser.add_argument("--file", action="append", metavar="PATH", help="file to send (repeatable)")
        parser.add_argument("--session", metavar="ID", help="session to continue")
        parser.add_argument("--user-ref", default="", help="user reference for the log and the session")
        parser.add_argument(
            "--triggered-by", choices=TRIGGERS, default="system", help="trigger for the log (default: system)"
        )
        output = parser.add_mutually_exclusive_group()
        output.add_argument("--json", action="store_true", help="print the whole response as JSON")
        output.add_argument("--stream", action="store_true", help="print the text while the model writes it")

    def handle(self, *args: Any, agent: str, schema: str | None, **options: Any) -> None:
        schema = chosen_schema(schema)
        if options["input"] is not None and options["var"]:
            raise CommandError("Use either --input or --var, not both.", returncode=2)
        if isinstance(sys.stdout, io.TextIOWrapper):  # print the answer whatever the locale
            sys.stdout.reconfigure(errors="replace")
        text = sys.stdin.read() if options["input"] == "-" else options["input"]
        try:
            with tenancy.active(schema):
                response = self._ask(get_agent(agent), text, options)
        except ZangoAIError as exc:
            code = next((code for code, kinds in EXIT_CODES.items() if isinstance(exc, kinds)), 1)
            where = f" (invocation {exc.invocation_id})" if exc.invocation_id else ""
            options_to_use = _VALUE_OPTIONS if isinstance(exc, exceptions.PromptRenderError) else ""
            raise CommandError(f"{type(exc).__name__}: {exc}{options_to_use}{where}", returncode=code) from exc
        except ValueError as exc:
            raise CommandError(str(exc), returncode=2) from exc
        if not options["stream"]:
            self.stdout.write(_as_json(response) if options["json"] else sanitize.sendable(response.content))
        if response.pending_approvals:
            names = ", ".join(pending.tool_name for pending in response.pending_approvals)
            raise CommandError(f"Run {response.run_id} awaits approval of: {names}.", returncode=AWAITING_APPROVAL)

    def _ask(self, agent: Agent, text: str | None, options: Mapping[str, Any]) -> LLMResponse:
        arguments = RunArguments(
            variables=_values("--var", options["var"]),
            system_variables=_values("--system-var", options["system_var"]),
            files=[LLMFile.from_path(path) for path in options["file"] or ()],
            session_id=options["session"],
            user_ref=options["user_ref"],
            triggered_by=options["triggered_by"],
        )
        if not options["stream"]:
            return agent.run(text, **arguments)
        with closing(agent.stream(text, **arguments)) as chunks:
            return self._print(chunks)

    def _print(self, chunks: Iterable[LLMStreamChunk]) -> LLMResponse:
        """Print the text as it arrives, with a line break after each round that has text."""
        has_text = False
        for chunk in chunks:
            if chunk.response is not None:
                return chunk.response
            if chunk.delta_text:
                has_text = True
                self.stdout.write(sanitize.sendable(chunk.delta_text), ending="")
                self.stdout.flush()
            elif chunk.type in {"round_end", "reset"} and has_text:
                has_text = False
                self.stdout.write("")
            if chunk.type == "reset":
                self.stderr.write("The text above is void. The model is asked again.")
        raise AssertionError("The stream ended without its last chunk")


def _values(option: str, given: Sequence[str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    pairs = [argument.partition("=") for argument in given]
    malformed = next((name for name, sign, _ in pairs if not sign or not name), None)
    if malformed is not None:
        raise CommandError(f"{option} {malformed}: use NAME=VALUE.", returncode=2)
    return {name: value for name, _, value in pairs}


def _as_json(response: LLMResponse) -> str:
    return json.dumps(
        {
            "content": response.content,
            "parsed_content": response.parsed_content,
            "session_id": response.session_id,
            "cost_usd": response.cost_usd if response.is_cost_known else None,
            "input_tokens": response.usage.input_tokens,
            "output_tokens": response.usage.output_tokens,
            "model": response.model,
            "latency_ms": response.latency_ms,
            "stop_reason": response.stop_reason,
            "tool_calls": [
                {"name": call.name, "input": dict(call.input), "result": call.result, "status": call.status}
                for call in response.tool_calls
            ],
            "pending_approvals": [
                {"id": pending.id, "tool_name": pending.tool_name, "arguments": dict(pending.arguments)}
                for pending in response.pending_approvals
            ],
            "invocation_id": response.invocation_id,
            "run_id": str(response.run_id),
        }
    )
