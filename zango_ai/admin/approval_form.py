"""The form that decides about the waiting tool calls of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..models import Tool, ToolCall
from ..runs.approval import Approval
from ..tools import registry
from ..tools.parameters import InvalidArguments
from . import approval_arguments
from .approval_arguments import Argument

_APPROVE, _CHANGE, _DENY = "approve", "change", "deny"
_PREFIX = "argument-"


class DecisionForm(forms.Form):
    """The decision about one call."""

    decision = forms.ChoiceField(
        label=_("Decision"),
        widget=forms.RadioSelect,
        choices=[(_APPROVE, _("Approve")), (_CHANGE, _("Change and approve")), (_DENY, _("Deny"))],
        error_messages={
            "required": _("Choose what to do about this call."),
            "invalid_choice": _("This call can only be denied."),
        },
    )
    reason = forms.CharField(
        label=_("Reason (the model is told)"),
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 40}),
    )

    def __init__(self, call: ToolCall, tool: Tool | None, data: Any = None, originals: Any = None) -> None:
        """``originals`` are the model's arguments as they were before the log redacted them."""
        super().__init__(data, prefix=str(call.uid))
        self.call = call
        self.is_expired = call.expires_at is not None and call.expires_at <= timezone.now()
        schema = tool.parameters_schema if tool is not None else None
        self.arguments: list[Argument] = approval_arguments.arguments_of(schema, call.arguments)
        self._originals: Mapping[str, Any] = originals if isinstance(originals, dict) else call.arguments or {}
        choices = list(DecisionForm.base_fields["decision"].choices)  # type: ignore[attr-defined]
        if self.is_expired:
            choices = choices[2:]
        elif not self.arguments or not registry.is_registered(call.tool_name):
            choices = [choices[0], choices[2]]
        else:
            for argument in self.arguments:
                self.fields[_PREFIX + argument.name] = argument.field()
        decision: Any = self.fields["decision"]
        decision.choices = choices
        self.approval: Approval = False

    def argument_fields(self) -> Iterator[tuple[Argument, BoundField]]:
        """The fields of the arguments; none if they cannot be changed."""
        for argument in self.arguments:
            if _PREFIX + argument.name in self.fields:
                yield argument, self[_PREFIX + argument.name]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        decision = cleaned.get("decision")
        if decision == _CHANGE:
            self.approval = self._changed_arguments(cleaned)
        else:
            self.approval = True if decision == _APPROVE else str(cleaned.get("reason", "")).strip() or False
        return cleaned

    def _changed_arguments(self, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        texts = {each.name: cleaned.get(_PREFIX + each.name, "") for each in self.arguments}
        try:
            values = approval_arguments.changed(self.arguments, texts, self._originals)
        except forms.ValidationError as exc:
            for name, problems in exc.error_dict.items():
                self.add_error(_PREFIX + name, problems)
            return {}
        try:
            registry.get(self.call.tool_name).parameters.read(json.dumps(values, ensure_ascii=False))
        except InvalidArguments as exc:
            for reason in exc.reasons:
                self._add_reason(reason)
        return values

    def _add_reason(self, reason: str) -> None:
        """Show why the tool does not take the arguments, at the field that it is about."""
        path, _colon, message = reason.partition(": ")
        field = _PREFIX + re.split(r"[.\[]", path, maxsplit=1)[0]
        self.add_error(field if field in self.fields else None, message if field in self.fields else reason)


def read_all(forms_of_calls: Sequence[DecisionForm]) -> dict[str, Approval] | None:
    """The decisions about all calls by their ``uid``; None if a form has an error."""
    is_valid = [form.is_valid() for form in forms_of_calls]  # of all, so that each form shows its errors
    if not all(is_valid):
        return None
    return {str(form.call.uid): form.approval for form in forms_of_calls}
