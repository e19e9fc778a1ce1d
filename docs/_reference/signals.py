"""The signals, from the docstrings of ``zango_ai.signals``."""

import inspect

from django.dispatch import Signal

from zango_ai import signals

from .markdown import attribute_docs, prose


def common_arguments() -> str:
    return prose(inspect.getdoc(signals)).split("\n\n", 1)[1]


def block() -> str:
    docs = attribute_docs(signals)
    names = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    return "\n\n".join(f"### {name}\n\n{prose(docs[name])}" for name in names)
