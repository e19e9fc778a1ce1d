"""Small pieces of HTML that the panel's lists, forms and templates share."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

_ICONS = Path(__file__).parents[1] / "static/zango_ai/vendor/lucide/icons.svg"

_TONES = {
    "ok": ("circle-check", "success active enabled approved works on"),
    "bad": (
        "circle-x",
        "failed error denied expired invalid_arguments timeout rate_limited budget_exceeded abandoned fails",
    ),
    "warn": ("hourglass", "awaiting_approval queued draft warning retiring"),
    "info": ("loader", "running info"),
    "none": ("circle-dashed", "inactive disabled cancelled off unknown"),
}
_BY_STATUS = {status: (tone, icon) for tone, (icon, names) in _TONES.items() for status in names.split()}
_OTHER_ICONS = {
    "timeout": "timer",
    "rate_limited": "gauge",
    "budget_exceeded": "wallet",
    "cancelled": "circle-slash",
    "denied": "ban",
    "queued": "clock",
    "draft": "pencil",
    "disabled": "power",
    "inactive": "history",
    "warning": "triangle-alert",
    "retiring": "calendar",
    "info": "info",
}


@cache
def _symbols() -> dict[str, str]:
    return dict(re.findall(r'<symbol id="([\w-]+)"[^>]*>(.*?)</symbol>', _ICONS.read_text("utf-8")))


def icon(name: str) -> SafeString:
    """An icon that screen readers skip. Put its meaning in text beside it."""
    return mark_safe(  # noqa: S308  the symbols are a file of this package
        '<svg class="za-icon" aria-hidden="true" focusable="false" viewBox="0 0 24 24">'
        + _symbols()[name]
        + "</svg>"
    )


def tone_of(status: str) -> str:
    """``ok``, ``bad``, ``warn``, ``info`` or ``none``."""
    return _BY_STATUS.get(status, ("none", ""))[0]


def badge(status: str, label: Any, *, icon_name: str = "") -> SafeString:
    """A coloured label with an icon. ``status``: of a run, of a tool call, or such as ``enabled`` and ``draft``."""
    tone, usual = _BY_STATUS.get(status, ("none", "circle-dashed"))
    shown = icon(icon_name or _OTHER_ICONS.get(status, usual))
    return format_html('<span class="za-badge za-{}" data-status="{}">{}{}</span>', tone, status, shown, label)


def tag(label: Any, *, icon_name: str = "") -> SafeString:
    """A quiet label without a meaning of good or bad, such as a model or a placeholder."""
    return format_html('<span class="za-tag">{}{}</span>', icon(icon_name) if icon_name else "", label)


def code_box(text: Any, *, title: str = "", is_copied: bool = True) -> SafeString:
    """Code, JSON or a prompt in a dark box, with a button that copies it."""
    shown = text if isinstance(text, str) else json.dumps(text, indent=2, ensure_ascii=False, default=str)
    context = {"text": shown, "title": title, "is_copied": is_copied}
    return mark_safe(render_to_string("admin/zango_ai/includes/code.html", context))  # noqa: S308


def budget_meter(spent: Any, limit: Any, reserved: Any = 0, *, label: str = "") -> SafeString:
    """A bar of what is spent and reserved of a budget. Without a limit: the amounts alone."""
    share = reserved_share = 0.0
    if limit:
        share = min(100.0, 100 * float(spent) / float(limit))
        reserved_share = min(100.0 - share, 100 * float(reserved or 0) / float(limit))
    is_used_up = limit is not None and spent >= limit
    tone = "bad" if is_used_up or share >= 100 else "warn" if share + reserved_share >= 80 else "ok"
    context = {
        **{"spent": spent, "limit": limit, "reserved": reserved, "label": label, "tone": tone},
        **{"share": f"{share:.2f}", "reserved_share": f"{reserved_share:.2f}", "is_used_up": is_used_up},
    }
    return mark_safe(render_to_string("admin/zango_ai/includes/meter.html", context))  # noqa: S308


def switch(url: str, name: str, *, is_on: bool) -> SafeString:
    """The switch of a list's row, which posts ``is_enabled`` to ``url``. Without ``url``: a badge."""
    if not url:
        return badge("enabled", gettext("on")) if is_on else badge("disabled", gettext("off"))
    context = {"name": name, "is_on": is_on, "url": url}
    return mark_safe(render_to_string("admin/zango_ai/includes/switch.html", context))  # noqa: S308
