"""The management commands, from their parsers."""

import argparse
import pkgutil

from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from zango_ai.management import commands

from .markdown import code, prose, table

_DJANGOS_OWN = {action.dest for action in BaseCommand().create_parser("manage.py", "x")._actions}


def block() -> str:
    names = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
    return "\n\n".join(_command(name) for name in names if not name.startswith("_"))


def _command(name: str) -> str:
    command = load_command_class("zango_ai", name)
    actions = [each for each in command.create_parser("manage.py", name)._actions if _is_own(each)]
    usage = f"```text\n{_usage(name, actions)}\n```"
    options = table(["argument", "meaning"], [(code(_shown(each)), _meaning(each)) for each in actions])
    return "\n\n".join([f"## {name}", _sentences(command.help), usage, *([options] if actions else [])])


def _is_own(action: argparse.Action) -> bool:
    return action.dest not in _DJANGOS_OWN and action.help != argparse.SUPPRESS


def _usage(name: str, actions: list[argparse.Action]) -> str:
    """The call, its options wrapped at 100 characters."""
    lines, start = [], f"python manage.py {name}"
    for each in actions:
        part = f" {_shown(each) if each.required else f'[{_shown(each)}]'}"
        if len(start) + len(part) > 100:
            lines.append(start)
            start = " " * 3
        start += part
    return "\n".join([*lines, start])


def _shown(action: argparse.Action) -> str:
    values = _values(action)
    if not action.option_strings:
        return values
    return " ".join(filter(None, [action.option_strings[-1], values]))


def _values(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    name = action.metavar or (action.dest if not action.option_strings else action.dest.upper())
    shown = str(name) if _has_many_choices(action) or not action.choices else "|".join(map(str, action.choices))
    return f"{shown} ..." if action.nargs in ("+", "*") else shown


def _meaning(action: argparse.Action) -> str:
    choices = f"One of {', '.join(map(code, action.choices or ()))}." if _has_many_choices(action) else ""
    return " ".join(filter(None, [_sentences(action.help), choices]))


def _has_many_choices(action: argparse.Action) -> bool:
    return len(list(action.choices or ())) > 5


def _sentences(text: object) -> str:
    """Text with its first letter in upper case, and a full stop."""
    shown = " ".join(prose(str(text or "")).split())
    return f"{shown[:1].upper()}{shown[1:]}".rstrip(".") + "." * bool(shown)
