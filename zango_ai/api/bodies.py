"""Parse request bodies: JSON, or multipart with files. Invalid ones raise a 400 that names the field."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from ..conf import get_conf
from ..exceptions import LLMFileError
from ..files.file import LLMFile
from ..memory.sessions import require_session_id
from ..output.json_reader import load
from .errors import bad_request

_RUN_FIELDS = ("input", "variables", "session_id")


@dataclass(frozen=True, slots=True)
class RunBody:
    """The arguments of a run that a client can choose."""

    input: str | None = None
    variables: Mapping[str, Any] | None = None
    session_id: str | None = None
    files: tuple[LLMFile, ...] = ()

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``Agent.run()``."""
        return {
            "input": self.input,
            "variables": self.variables,
            "session_id": self.session_id,
            "files": self.files or None,
        }


def read_run(request: HttpRequest) -> RunBody:
    """Read the body of a run. Raises ApiError."""
    if request.content_type == "multipart/form-data":
        return _multipart(request)
    return RunBody(**_validated(read_json(request, _RUN_FIELDS)))


def read_approvals(request: HttpRequest) -> dict[str, bool | str]:
    """Decisions by approval ID: true, false, or a string with the reason to deny. Raises ApiError."""
    decisions = read_json(request, ("approvals",)).get("approvals")
    if not isinstance(decisions, dict) or not decisions:
        raise bad_request("approvals must be an object with a decision for each pending ID.", "approvals")
    for key, decision in decisions.items():
        if not isinstance(decision, (bool, str)):
            raise bad_request(f"approvals[{key!r}] must be true, false or a string with a reason.", "approvals")
    return decisions


def read_after(request: HttpRequest) -> int:
    """Number of the last chunk that the client has seen: ``Last-Event-ID`` or ``?after=``. Raises ApiError."""
    name = "Last-Event-ID" if request.headers.get("Last-Event-ID") else "after"
    sent = request.headers["Last-Event-ID"] if name == "Last-Event-ID" else request.GET.get("after", "0")
    if not (sent.isascii() and sent.isdigit() and len(sent) < 10):
        raise bad_request(f"{name} must be the number of an event.", name)
    return int(sent)


def read_json(request: HttpRequest, fields: Collection[str]) -> dict[str, Any]:
    """The JSON object in the body, with these fields only. Raises ApiError."""
    if request.content_type != "application/json":
        raise bad_request("Send application/json, or multipart/form-data with files.", "Content-Type")
    try:
        value = load(request.body.decode("utf-8")) if request.body else {}
    except (ValueError, RecursionError):
        raise bad_request("The body is not valid JSON.", "body") from None
    if not isinstance(value, dict):
        raise bad_request("The body must be a JSON object.", "body")
    _require_known(value, fields)
    return value


def _multipart(request: HttpRequest) -> RunBody:
    fields = request.POST
    _require_known(set(fields) - {"csrfmiddlewaretoken"}, _RUN_FIELDS)
    for name in request.FILES:
        if name in _RUN_FIELDS:
            raise bad_request(f"{name} must be sent as text, not as a file.", name)
    _require_known(request.FILES, ("files",))
    values: dict[str, Any] = {}
    for name in _RUN_FIELDS:
        sent = fields.getlist(name)
        if len(sent) > 1:
            raise bad_request(f"{name} was sent {len(sent)} times. Send it once.", name)
        if sent:
            values[name] = sent[0]
    if "variables" in values:
        try:
            values["variables"] = load(values["variables"])
        except (ValueError, RecursionError):
            raise bad_request("variables is not valid JSON.", "variables") from None
    return RunBody(**_validated(values), files=_files(request.FILES.getlist("files")))


def _files(uploads: list[Any]) -> tuple[LLMFile, ...]:
    conf = get_conf()
    if len(uploads) > conf.max_files:
        raise bad_request(f"Send at most {conf.max_files} files.", "files")
    for upload in uploads:
        if (upload.size or 0) > conf.max_file_bytes:
            raise bad_request(f"Each file must be at most {conf.max_file_bytes} bytes.", "files")
    try:
        return tuple(LLMFile.from_django_file(upload) for upload in uploads)
    except LLMFileError as exc:
        raise bad_request(str(exc), "files") from None


def _validated(values: Mapping[str, Any]) -> dict[str, Any]:
    text, variables, session_id = (values.get(name) for name in _RUN_FIELDS)
    if text is not None and not isinstance(text, str):
        raise bad_request("input must be a string.", "input")
    if variables is not None and not isinstance(variables, dict):
        raise bad_request("variables must be an object.", "variables")
    try:
        require_session_id(session_id)
    except (TypeError, ValueError) as exc:
        raise bad_request(str(exc), "session_id") from None
    return {"input": text, "variables": variables, "session_id": session_id}


def _require_known(names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise bad_request(f"{name!r} is not a field of this request. Allowed: {', '.join(known)}.", name)
