"""Ask the user of a command at the terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from getpass import getpass
from typing import Any, TextIO

from django.core.management.base import CommandError

from ..providers.kinds import KINDS, CredentialSlot


class Questions:
    """Asks if the command may ask. Otherwise takes the default, or raises CommandError with the option's name."""

    def __init__(self, out: Any, *, is_interactive: bool) -> None:
        self._out: TextIO = out
        self.is_interactive = is_interactive

    def text(self, question: str, option: str, default: str = "") -> str:
        if not self.is_interactive:
            if default:
                return default
            raise CommandError(f"{option} is missing.")
        shown = f" [{default}]" if default else ""
        while True:
            answer = _read(f"{question}{shown}: ").strip() or default
            if answer:
                return answer

    def choice(self, question: str, option: str, choices: Sequence[str], labels: Sequence[str] = ()) -> str:
        """One of the choices, by its number or its name."""
        if not self.is_interactive:
            raise CommandError(f"{option} is missing. Use one of: {', '.join(choices)}.")
        for number, (name, label) in enumerate(zip(choices, labels or choices, strict=True), start=1):
            self._out.write(f"  {number:>2}  {name}" + (f" ({label})" if label != name else ""))
        while True:
            answer = _read(f"{question}: ").strip()
            if answer in choices:
                return answer
            if answer.isascii() and answer.isdigit() and 0 < int(answer) <= len(choices):
                return choices[int(answer) - 1]

    def is_confirmed(self, question: str) -> bool:
        return self.is_interactive and _read(f"{question} [y/N]: ").strip().lower() in {"y", "yes"}

    def credential(self, kind: str, slot: CredentialSlot) -> str:
        """The value of one credential, which is not shown if it is secret. Empty if it is optional and left out."""
        optional = "" if slot.is_required else ", empty for none"
        if slot.is_secret:
            hint = f"not shown; $NAME reads the environment variable NAME{optional}"
            return from_environment(_read_secret(f"{slot.label} ({hint}): ").strip())
        example = f", for example {slot.example}" if slot.example else ""
        while True:
            answer = _read(f"{slot.label} of {KINDS[kind].label}{example}{optional}: ").strip()
            if answer or not slot.is_required:
                return answer


def from_environment(answer: str) -> str:
    """The value of an environment variable for ``$NAME``, else the answer. Raises CommandError."""
    if not answer.startswith("$"):
        return answer
    return variable(answer[1:])


def variable(name: str) -> str:
    """The value of an environment variable. Raises CommandError if it is not set."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise CommandError(f"The environment variable {name} is not set.")
    return value


def _read(question: str) -> str:
    try:
        return input(question)
    except (EOFError, KeyboardInterrupt):
        raise _cancelled() from None


def _read_secret(question: str) -> str:
    try:
        return getpass(question)
    except (EOFError, KeyboardInterrupt):
        raise _cancelled() from None


def _cancelled() -> CommandError:
    return CommandError("Cancelled. Nothing was saved. Without a terminal, use --no-input and the other options.")
