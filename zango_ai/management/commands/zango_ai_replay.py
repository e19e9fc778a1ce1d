"""Replay stored runs with another prompt, model or provider, from a shell."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import redaction
from ...configuration import lookups
from ...configuration.overrides import Overrides
from ...exceptions import ZangoAIError
from ...ledger.money import format_usd
from ...models import AgentConfig, Invocation
from ...runs import replay_batch
from ...runs.replay import replay
from ...runs.replay_batch import Replayed
from ...runs.replay_comparison import Comparison
from ...types import PromptSpec
from .. import replay_report
from ..per_tenant import chosen_schema, migrated_tenant
from .zango_ai_run import EXIT_CODES

_REPLAYED_BY = "zango_ai_replay"
_DEFAULT_COUNT = 10


class Command(BaseCommand):
    help = (
        "Run stored invocations again, with another prompt, model or provider, and compare the answers. No tool is "
        "executed: calls are answered from the log. Each replay is a billed run. Exit codes as of zango_ai_run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("invocation", nargs="?", type=int, help="ID of the invocation to replay")
        parser.add_argument("--schema", help="schema of the tenant; may be left out if there is only one")
        parser.add_argument("--agent", metavar="NAME", help="replay the last runs of this agent")
        parser.add_argument("--last", type=int, metavar="N", help=f"how many of them (default: {_DEFAULT_COUNT})")
        for option, role in (("--prompt", "user"), ("--system-prompt", "system")):
            texts = parser.add_mutually_exclusive_group()
            texts.add_argument(f"{option}-version", type=int, metavar="N", help=f"version of the {role} prompt")
            texts.add_argument(f"{option}-file", metavar="PATH", help=f"file with a draft of the {role} prompt")
        parser.add_argument("--model", help="model to ask (default: the recorded one)")
        parser.add_argument("--provider", metavar="NAME", help="provider to ask (default: the recorded one)")
        parser.add_argument("--yes", action="store_true", help="replay several runs without asking")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, schema: str | None, **options: Any) -> None:
        if (options["invocation"] is None) == (options["agent"] is None):
            raise CommandError("Give either the ID of an invocation, or --agent NAME.", returncode=2)
        if options["last"] is not None and not (options["agent"] and 0 < options["last"] <= replay_batch.MAX_RUNS):
            raise CommandError(f"--last is for --agent, and from 1 to {replay_batch.MAX_RUNS}.", returncode=2)
        try:
            with migrated_tenant(chosen_schema(schema)):
                (self._replay_one if options["agent"] is None else self._replay_many)(options)
        except ZangoAIError as exc:
            raise _failure(exc) from exc
        except (ValueError, OSError) as exc:
            raise CommandError(str(exc), returncode=2) from exc

    def _replay_one(self, options: Mapping[str, Any]) -> None:
        names = Invocation.objects.filter(pk=options["invocation"])
        run = names.values_list("system_prompt_name", "user_prompt_name").first()
        overrides = _overrides(options, *(run or ("", "")))
        error = None
        try:
            replay_id = self._replay(options["invocation"], overrides)
        except ZangoAIError as exc:
            if exc.invocation_id is None:
                raise
            error, replay_id = exc, exc.invocation_id
        comparison = Comparison.read(replay_id)
        if options["json"]:
            self.stdout.write(json.dumps(replay_report.as_dict(comparison)))
        else:
            self.stdout.write(
                "\n".join(replay_report.lines(comparison, shutil.get_terminal_size((120, 24)).columns))
            )
        self._warn_of_redaction()
        if error is not None:
            raise error

    def _replay(self, invocation_id: int, overrides: Overrides) -> int:
        return replay(invocation_id, overrides, replayed_by=_REPLAYED_BY, triggered_by="system").invocation_id

    def _replay_many(self, options: Mapping[str, Any]) -> None:
        name = options["agent"]
        agent = AgentConfig.objects.select_related("system_prompt", "user_prompt").filter(name=name).first()
        prompts = (agent.system_prompt, agent.user_prompt) if agent else (None, None)
        overrides = _overrides(options, *(prompt.name if prompt else "" for prompt in prompts))
        runs = replay_batch.last_runs(name, options["last"] or _DEFAULT_COUNT)
        if not runs:
            raise CommandError(f"The log has no run of agent {name!r} that can be replayed.", returncode=3)
        self._confirm(runs, overrides, options)
        replayed = list(self._replayed([run.pk for run in runs], overrides))
        comparisons = Comparison.read_many([each.replay_id for each in replayed if each.replay_id is not None])
        if options["json"]:
            self.stdout.write(json.dumps(_as_dict(replayed, comparisons)))
        else:
            self.stdout.write("\n".join(replay_report.table(replayed, comparisons)))
        self._warn_of_redaction()
        if replayed[-1].error is not None and replayed[-1].stops_batch:
            self.stderr.write(f"Stopped after {len(replayed)} of {len(runs)} runs.")
            raise replayed[-1].error

    def _confirm(self, runs: list[Invocation], overrides: Overrides, options: Mapping[str, Any]) -> None:
        estimate = replay_batch.estimate_usd(runs, overrides)
        cost = "an unknown amount" if estimate is None else f"about {format_usd(estimate)}"
        question = (
            f"Replaying {len(runs)} runs of {options['agent']} costs {cost}, if they use as many tokens again."
        )
        if options["yes"]:
            self.stderr.write(question)
            return
        if not sys.stdin.isatty():
            raise CommandError(f"{question} Add --yes to replay them.", returncode=2)
        if input(f"{question} Continue? [y/N] ").strip().lower() not in {"y", "yes"}:
            raise CommandError("Nothing was replayed.", returncode=1)

    def _replayed(self, run_ids: list[int], overrides: Overrides) -> Iterator[Replayed]:
        each_run = replay_batch.replay_each(run_ids, overrides, replayed_by=_REPLAYED_BY, triggered_by="system")
        for number, each in enumerate(each_run, start=1):
            self.stderr.write(f"{number} of {len(run_ids)}: invocation {each.original_id}")
            yield each

    def _warn_of_redaction(self) -> None:
        if redaction.is_on():
            self.stderr.write("ZANGO_AI['REDACT'] is set: replays send the texts as they were stored, redacted.")


def _overrides(options: Mapping[str, Any], system_name: str, user_name: str) -> Overrides:
    provider = options["provider"]
    return Overrides(
        model=options["model"],
        provider_id=None if provider is None else lookups.get_provider(provider).pk,
        system_prompt=_prompt(options, "system_prompt", system_name),
        user_prompt=_prompt(options, "prompt", user_name),
    )


def _prompt(options: Mapping[str, Any], option: str, name: str) -> PromptSpec | None:
    number, path = options[f"{option}_version"], options[f"{option}_file"]
    if path is not None:
        return PromptSpec(name or "draft", None, Path(path).read_text())
    if number is None:
        return None
    if not name:
        raise CommandError(f"There is no {option.replace('_', ' ')} to choose version {number} of.", returncode=2)
    return lookups.get_version(name, number)


def _failure(exc: ZangoAIError) -> CommandError:
    code = next((code for code, kinds in EXIT_CODES.items() if isinstance(exc, kinds)), 1)
    where = f" (invocation {exc.invocation_id})" if exc.invocation_id else ""
    return CommandError(f"{type(exc).__name__}: {exc}{where}", returncode=code)


def _as_dict(replayed: list[Replayed], comparisons: list[Comparison]) -> dict[str, Any]:
    refused = [
        {"invocation_id": each.original_id, "error_type": type(each.error).__name__, "error": str(each.error)}
        for each in replayed
        if each.replay_id is None
    ]
    costs = [each.replay.cost_usd for each in comparisons]
    return {
        "runs": [replay_report.as_dict(each) for each in comparisons],
        "refused": refused,
        "same": sum(each.is_same for each in comparisons),
        "cost_usd": str(sum(cost for cost in costs if cost is not None)),
        "unknown_costs": costs.count(None),
    }
