"""The form of the playground: the inputs that all columns share, and the settings of each column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..conf import get_conf
from ..configuration.overrides import Overrides
from ..exceptions import LLMFileError
from ..files.file import LLMFile
from ..models import MemorySession
from ..prompts import rendering
from .playground_options import DRAFT, PlaygroundOptions

MAX_COLUMNS = 3
FORM_ID = "za-playground"
"""The HTML id of the form. The columns stand outside of it, because they contain forms for approvals."""
_VARIABLE, _SYSTEM_VARIABLE = "var-", "sysvar-"


class ColumnForm(forms.Form):
    """One column: which texts, model and session to try."""

    user_version = forms.ChoiceField(label=_("User prompt"), required=False)
    user_draft = forms.CharField(label=_("Draft of the user prompt"), required=False, strip=False)
    system_version = forms.ChoiceField(label=_("System prompt"), required=False)
    system_draft = forms.CharField(label=_("Draft of the system prompt"), required=False, strip=False)
    provider = forms.ChoiceField(label=_("Provider"))
    model = forms.CharField(label=_("Model"), required=False, max_length=200)
    session_id = forms.CharField(label=_("Session"), required=False, max_length=255)

    def __init__(self, options: PlaygroundOptions, number: int, data: Any = None) -> None:
        agent = options.agent
        initial = {
            "provider": str(agent.provider_id),
            "model": agent.model,
            "user_draft": options.user.text("", ""),
            "system_draft": options.system.text("", ""),
        }
        super().__init__(data=_with_defaults(data, initial, number), prefix=f"c{number}", initial=initial)
        self.options, self.number = options, number
        fields: dict[str, Any] = self.fields
        fields["user_version"].choices = options.user.choices()
        fields["system_version"].choices = options.system.choices()
        for name in ("user_draft", "system_draft"):
            fields[name].widget = forms.Textarea(attrs={"rows": 6, "class": "za-mono", "spellcheck": "true"})
        fields["provider"].choices = [
            (str(row.pk), row.name if row.is_enabled else gettext("%(name)s (off)") % {"name": row.name})
            for row in options.providers
        ]
        fields["model"].widget.attrs |= {
            "autocomplete": "off",
            "spellcheck": "false",
        }
        if agent.short_term_memory:
            sessions = [(row.session_id, _session_label(row)) for row in options.sessions]
            chosen = self.data.get(self.add_prefix("session_id"))
            if chosen and chosen not in dict(sessions):
                sessions.insert(0, (chosen, chosen))
            fields["session_id"].widget = forms.Select(choices=[("", gettext("New session")), *sessions])
        else:
            del fields["session_id"]
        for each in fields.values():
            each.widget.attrs["form"] = FORM_ID

    @property
    def letter(self) -> str:
        return "ABC"[self.number - 1]

    def texts(self) -> tuple[str, str]:
        """The texts of the system prompt and of the user prompt, with their placeholders."""
        value = self._value
        return (
            self.options.system.text(value("system_version"), value("system_draft")),
            self.options.user.text(value("user_version"), value("user_draft")),
        )

    @property
    def has_user_prompt(self) -> bool:
        return self.options.user.prompt is not None or self._value("user_version") == DRAFT

    def overrides(self) -> Overrides:
        """The settings that differ from the agent's. Call it on a valid form."""
        cleaned, options = self.cleaned_data, self.options
        provider_id = int(cleaned["provider"])
        is_configured = provider_id == options.agent.provider_id
        return Overrides(
            model=None if is_configured and cleaned["model"] == options.agent.model else cleaned["model"] or None,
            provider_id=None if is_configured else provider_id,
            system_prompt=options.system.override(cleaned["system_version"], cleaned["system_draft"]),
            user_prompt=options.user.override(cleaned["user_version"], cleaned["user_draft"]),
        )

    def clean_model(self) -> str:
        model = str(self.cleaned_data["model"]).strip()
        if model and not model.isprintable():
            raise ValidationError(_("Use printable characters only."))
        return model

    def _value(self, name: str) -> str:
        if self.is_bound:
            return _with_line_feeds(str(self.data.get(self.add_prefix(name)) or ""))
        return ""

    def clean_user_draft(self) -> str:
        return _with_line_feeds(self.cleaned_data["user_draft"])

    def clean_system_draft(self) -> str:
        return _with_line_feeds(self.cleaned_data["system_draft"])


def _with_defaults(data: Any, initial: Mapping[str, str], number: int) -> Any:
    """The sent data. A column that was not on the page has the agent's own settings."""
    if data is None or f"c{number}-provider" in data:
        return data
    return {**data.dict(), **{f"c{number}-{name}": value for name, value in initial.items()}}


def _with_line_feeds(text: str) -> str:
    """Browsers send line breaks as CR LF. Prompts are stored with LF."""
    return text.replace("\r\n", "\n")


def _session_label(session: MemorySession) -> str:
    return f"{session.session_id[:40]} · {session.turns_count}"


class _FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class _FilesField(forms.FileField):
    """Any number of uploads, as ``LLMFile``."""

    widget = _FilesInput

    def clean(self, data: Any, initial: Any = None) -> list[LLMFile]:
        uploads = [upload for upload in data or () if upload]
        conf = get_conf()
        if len(uploads) > conf.max_files:
            raise ValidationError(_("Choose at most %(count)d files.") % {"count": conf.max_files})
        for upload in uploads:
            if (upload.size or 0) > conf.max_file_bytes:
                text = _("%(name)s is too large. A file may have at most %(size)d bytes.")
                raise ValidationError(text % {"name": upload.name, "size": conf.max_file_bytes})
        try:
            return [LLMFile.from_django_file(upload) for upload in uploads]
        except LLMFileError as exc:
            raise ValidationError(str(exc)) from None


class InputsForm(forms.Form):
    """The message, the files and one field for each placeholder of any column."""

    message = forms.CharField(
        label=_("Message"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    attachments = _FilesField(label=_("Files"), required=False)

    def __init__(self, columns: Sequence[ColumnForm], data: Any = None, files: Any = None) -> None:
        super().__init__(data=data, files=files)
        self.columns = columns
        names = _Placeholders.of(columns)
        for prefix, found in ((_VARIABLE, names.user), (_SYSTEM_VARIABLE, names.system)):
            for name in found:
                widget = forms.Textarea(attrs={"rows": 1, "class": "za-grow"})
                self.fields[prefix + name] = forms.CharField(label=name, required=False, strip=False, widget=widget)
        if any(column.has_user_prompt for column in columns):
            self.fields["message"].label = _("Message in place of the user prompt")
            self.fields["message"].help_text = _("Leave empty to send the user prompt with the values above.")

    @property
    def variable_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(_VARIABLE)]

    @property
    def system_variable_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(_SYSTEM_VARIABLE)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("message") and any(not column.has_user_prompt for column in self.columns):
            self.add_error("message", _("This agent has no user prompt. Write a message."))
        return cleaned

    def arguments(self, column: ColumnForm) -> dict[str, Any]:
        """The arguments of the column's run."""
        system_text, user_text = column.texts()
        message = _with_line_feeds(self.cleaned_data["message"])
        system_names = rendering.find_placeholders(system_text)
        return {
            "input": message or None,
            "variables": None if message else self._values(_VARIABLE, rendering.find_placeholders(user_text)),
            "system_variables": self._values(_SYSTEM_VARIABLE, system_names) if system_names else None,
            "files": self.cleaned_data["attachments"] or None,
            "session_id": column.cleaned_data.get("session_id") or None,
        }

    def _values(self, prefix: str, names: Iterable[str]) -> dict[str, str]:
        return {name: _with_line_feeds(self.cleaned_data.get(prefix + name) or "") for name in names}


@dataclass(frozen=True, slots=True)
class _Placeholders:
    """The placeholders of all columns, in order of appearance."""

    user: list[str] = field(default_factory=list)
    system: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, columns: Iterable[ColumnForm]) -> _Placeholders:
        found = cls()
        for system_text, user_text in (column.texts() for column in columns):
            for names, text in ((found.system, system_text), (found.user, user_text)):
                names += [name for name in rendering.find_placeholders(text) if name not in names]
        return found


@dataclass(frozen=True, slots=True)
class PlaygroundForm:
    """All of the page's forms."""

    options: PlaygroundOptions
    columns: list[ColumnForm]
    """Those in use; the others are offered."""
    inputs: InputsForm
    unused: list[ColumnForm]

    @classmethod
    def build(
        cls, options: PlaygroundOptions, data: Any = None, files: Any = None, only: int | None = None
    ) -> PlaygroundForm:
        """``only``: the number of the one column that is run."""
        count = _count(None if data is None else data.get("columns"))
        numbers = [only] if only else range(1, count + 1)
        columns = [ColumnForm(options, number, data) for number in numbers]
        unused = [] if only else [ColumnForm(options, number) for number in range(count + 1, MAX_COLUMNS + 1)]
        return cls(options, columns, InputsForm(columns, data, files), unused)

    @property
    def count(self) -> int:
        return len(self.columns)

    def is_valid(self) -> bool:
        are_valid = [form.is_valid() for form in (*self.columns, self.inputs)]
        return all(are_valid) and self._have_own_sessions()

    def _have_own_sessions(self) -> bool:
        """Two runs at once would mix their turns in one session."""
        seen: set[str] = set()
        for column in self.columns:
            session_id = column.cleaned_data.get("session_id")
            if session_id and session_id in seen:
                column.add_error("session_id", _("Another column uses this session. Choose another one."))
                return False
            seen.add(session_id or "")
        return True

    def errors(self) -> dict[str, list[str]]:
        """The errors by the id of their field."""
        return {
            form[name].auto_id if name in form.fields else "": [str(error) for error in errors]
            for form in (*self.columns, self.inputs)
            for name, errors in form.errors.items()
        }


def _count(text: Any) -> int:
    number = int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 3 else 1
    return min(max(number, 1), MAX_COLUMNS)
