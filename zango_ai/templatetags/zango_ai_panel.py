"""Tags and filters of the panel's templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django import template
from django.template import Context
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

from ..admin import components, formats, panel, retirement
from ..admin.invocation_list import round_cost, rows_with_groups
from ..admin.overview import Overview

register = template.Library()

register.filter("usd", formats.usd)
register.filter("count", formats.count)
register.filter("short_count", formats.short_count)
register.filter("latency", formats.latency)
register.filter("percent", formats.percent)
register.filter("when", formats.when)
register.filter("tone", components.tone_of)
register.filter("round_cost", round_cost)
register.filter("rows_with_groups", rows_with_groups)

register.simple_tag(components.icon, name="icon")
register.simple_tag(components.badge, name="badge")
register.simple_tag(components.tag, name="tag")
register.simple_tag(components.code_box, name="code_box")
register.simple_tag(components.budget_meter, name="budget_meter")


@register.simple_tag(takes_context=True)
def panel_css(context: Context, *names: str) -> SafeString:
    """Links to stylesheets in ``static/zango_ai``, with the nonce of Django's content security policy."""
    files = ((static(f"zango_ai/{name}"),) for name in names)
    return with_nonce(context, format_html_join("", '<link rel="stylesheet" href="{}">', files))


@register.simple_tag(takes_context=True)
def panel_js(context: Context, *names: str) -> SafeString:
    """Scripts in ``static/zango_ai``, with the nonce. Only those in ``vendor/`` are not modules."""
    files = (("defer" if name.startswith("vendor/") else 'type="module"', name) for name in names)
    tags = ((mark_safe(kind), static(f"zango_ai/{name}")) for kind, name in files)  # noqa: S308
    return with_nonce(context, format_html_join("", '<script {} src="{}"></script>', tags))


@register.simple_tag(takes_context=True)
def with_nonce(context: Context, tags: SafeString) -> SafeString:
    """Links and scripts, such as ``media.js``, with the nonce of Django 6's content security policy."""
    html = str(tags)
    nonce = context.get("csp_nonce")
    if nonce is not None:
        html = re.sub(r"<(link|script|style)\b", lambda tag: format_html('<{} nonce="{}"', tag[1], nonce), html)
    return mark_safe(html)  # noqa: S308  only an attribute is added


@register.simple_tag(takes_context=True)
def overview(context: Context) -> Overview:
    """The figures and warnings of the landing page."""
    return Overview(context["request"])


@register.filter
def rate_tone(rate: float | None) -> str:
    """The tone of a success rate from 0 to 1: good, mediocre or bad."""
    if rate is None:
        return ""
    return "za-ok" if rate >= 0.95 else "za-warn" if rate >= 0.8 else "za-bad"


@register.inclusion_tag("admin/zango_ai/includes/tabs.html", takes_context=True)
def section_tabs(context: Context) -> dict[str, Any]:
    """The sections of the panel that the user may see."""
    request, opts = context.get("request"), context.get("opts")
    if request is None or context.get("is_popup"):
        return {"tabs": []}
    return {"tabs": list(panel.tabs(request, opts.model_name if opts else ""))}


@register.simple_tag
def retirement_notices(row: Any) -> list[retirement.RetirementNotice]:
    """The models that the agent or provider uses and that end soon."""
    return retirement.notices_about(row)


@register.inclusion_tag("admin/zango_ai/includes/filters.html")
def list_filters(changelist: Any) -> dict[str, Any]:
    """A change list's filters as a row of menus."""
    filters = []
    for spec in changelist.filter_specs:
        choices = list(spec.choices(changelist))
        chosen = next((each for each in choices if each.get("selected")), None)
        is_set = chosen is not None and chosen is not choices[0]
        shown = {"title": spec.title, "choices": choices, "chosen": chosen, "is_set": is_set}
        filters.append({**shown, **_filter_form(changelist, spec)})
    return {"filters": filters, "cl": changelist}


def _filter_form(changelist: Any, spec: Any) -> dict[str, Any]:
    """The inputs of a filter that has ``form_fields()``, and the parameters that its form keeps."""
    if not hasattr(spec, "form_fields"):
        return {}
    own = {*spec.expected_parameters(), "before", "after"}
    kept = [(name, value) for name, value in changelist.params.items() if name not in own]
    return {"fields": spec.form_fields(), "kept": kept}


@register.filter
def labelled(cells: list[str], headers: list[dict[str, Any]]) -> Iterator[SafeString]:
    """The cells of a row of a change list, each with its column's title for the narrow layout."""
    for cell, header in zip(cells, headers, strict=False):
        text = str(cell)
        tag = text[:3]
        if "action-checkbox" in text[:40] or tag not in ("<td", "<th"):
            yield mark_safe(text)  # noqa: S308  Django has escaped it
        else:
            label = format_html(' data-label="{}"', capfirst(str(header["text"])))
            yield mark_safe(f"{tag}{label}{text[3:]}")  # noqa: S308
