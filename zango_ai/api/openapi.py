"""The OpenAPI 3.1 document of the API."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

Schema = dict[str, Any]

_JSON = "application/json"
_EVENTS = "text/event-stream"
_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_OBJECT: Schema = {"type": "object"}
_ANY: Schema = {}
_SESSION_ID: Schema = {"type": ["string", "null"], "minLength": 1, "maxLength": 255}
_AGENT = {"name": "name", "in": "path", "required": True, "schema": _TEXT, "description": "The agent's name."}
_RUN = {"name": "run_id", "in": "path", "required": True, "schema": _TEXT | {"format": "uuid"}}
_SESSION = {
    "name": "session_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$"},
}
_EVENT_NUMBER: Schema = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_AFTER = {
    "name": "after",
    "in": "query",
    "schema": _EVENT_NUMBER,
    "description": "The id of the last event that was seen.",
}
_LAST_EVENT_ID = _AFTER | {"name": "Last-Event-ID", "in": "header", "description": "Like after. Browsers send it."}
_RUN_REQUEST = {
    "input": _TEXT_OR_NULL | {"description": "The user's message, sent to the model unchanged."},
    "variables": {"type": ["object", "null"], "description": "Values for the placeholders of the user prompt."},
    "session_id": _SESSION_ID | {"description": "ID of the conversation to start or continue."},
}


_PART: Schema = {"type": "object", "required": ["type"], "properties": {"type": _TEXT}}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["role", "parts"],
    "properties": {
        "id": _TEXT,
        "role": {"enum": ["user", "assistant"]},
        "parts": {"type": "array", "items": _PART},
    },
}
_CHAT: Schema = {
    "type": "object",
    "required": ["id", "messages"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 255, "description": "The chat's ID."},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": _MESSAGE,
            "description": "Only the last one is read.",
        },
        "trigger": _TEXT,
        "messageId": _TEXT,
    },
}


@require_safe
def document(request: HttpRequest) -> JsonResponse:
    """Serve the OpenAPI document for the path at which the API is included."""
    base = request.path.rsplit("/", 1)[0] or "/"
    return JsonResponse(openapi(base))


def openapi(base: str) -> dict[str, Any]:
    """The OpenAPI document of an API included at the path ``base``."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Agents", "version": "1", "description": "Run this site's agents."},
        "servers": [{"url": base}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
            },
        },
        "security": [{"session": [], "csrf": []}],
    }


def _paths() -> dict[str, Any]:
    run_body = _body(_object(_RUN_REQUEST), with_files=True)
    decisions = {"type": "object", "additionalProperties": {"type": ["boolean", "string"]}, "minProperties": 1}
    return {
        "/agents/{name}/run/": _post("run", "Run an agent", [_AGENT], "Response", body=run_body),
        "/agents/{name}/stream/": _post(
            "stream", "Run an agent and stream its answer", [_AGENT], "Event", body=run_body, media_type=_EVENTS
        ),
        "/agents/{name}/enqueue/": _post(
            "enqueue", "Queue a run", [_AGENT], "QueuedRun", body=run_body, status="202"
        ),
        "/agents/{name}/chat/": _post(
            "chat", "Answer a chat of Vercel's AI SDK", [_AGENT], "ChatParts", body=_body(_CHAT), media_type=_EVENTS
        ),
        "/agents/{name}/chat/{chat_id}/stream": _stream(
            "chat_stream", "Resume the answer of a chat", [_AGENT, _SESSION | {"name": "chat_id"}], "ChatParts"
        ),
        "/agents/{name}/sessions/{session_id}/clear/": _post(
            "clear_session", "End a conversation", [_AGENT, _SESSION], "Cleared"
        ),
        "/runs/{run_id}/": {"get": _operation("run_detail", "Get a run", [_RUN], "Run")},
        "/runs/{run_id}/stream/": _stream(
            "run_stream", "Stream a queued run, live or afterwards", [_RUN, _AFTER, _LAST_EVENT_ID], "Event"
        ),
        "/runs/{run_id}/cancel/": _post("cancel", "Stop a run", [_RUN], "Cancelled"),
        "/runs/{run_id}/approvals/": _post(
            "approvals",
            "Approve or deny the pending tool calls of a run",
            [_RUN],
            "Response",
            body=_body(_object({"approvals": decisions}, required=["approvals"])),
        ),
    }


def _schemas() -> dict[str, Schema]:
    usage = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")
    call = {"id": _TEXT, "name": _TEXT, "input": _OBJECT, "result": _ANY, "status": _TEXT}
    approval = {
        "id": _TEXT,
        "tool_name": _TEXT,
        "arguments": _OBJECT,
        "expires_at": _TEXT | {"format": "date-time"},
        "description": _TEXT,
    }
    response = {
        "run_id": _TEXT | {"format": "uuid"},
        "invocation_id": _COUNT,
        "content": _TEXT,
        "parsed_content": _ANY,
        "session_id": _TEXT_OR_NULL,
        "stop_reason": _TEXT,
        "model": _TEXT,
        "usage": _closed(dict.fromkeys(usage, _COUNT)),
        "cost_usd": {"type": "number", "minimum": 0},
        "is_cost_known": {"type": "boolean"},
        "latency_ms": _COUNT,
        "time_to_first_token_ms": _COUNT | {"type": ["integer", "null"]},
        "tool_calls": {"type": "array", "items": _closed(call)},
        "pending_approvals": {"type": "array", "items": _closed(approval)},
    }
    run = {
        "run_id": _TEXT,
        "status": _TEXT,
        "error_type": _TEXT_OR_NULL,
        "response": {"oneOf": [_ref("Response"), {"type": "null"}]},
    }
    error = {"type": _TEXT, "message": _TEXT}
    return {
        "Response": _closed(response),
        "QueuedRun": _closed({"run_id": _TEXT, "status": _TEXT}),
        "Run": _closed(run),
        "Cleared": _closed({"cleared": {"const": True}}),
        "Cancelled": _closed({"cancelled": {"type": "boolean"}}),
        "Event": {
            "description": "Server-sent events. Each has the chunk's number as its id, and JSON data with a type: "
            "text (with text), tool_call and tool_result (with tool_call), round_end, reset, and at last final "
            "(with response) or error (with error).",
        },
        "ChatParts": {
            "description": "Server-sent events: the parts of the AI SDK's UI message stream, version 1.",
        },
        "Error": _closed({"error": _object(error | {"field": _TEXT}, required=list(error))}),
    }


def _post(
    name: str,
    summary: str,
    parameters: list[Any],
    answer: str,
    *,
    body: Any = None,
    status: str = "200",
    media_type: str = _JSON,
) -> dict[str, Any]:
    operation = _operation(name, summary, parameters, answer, status=status, media_type=media_type)
    return {"post": operation | ({"requestBody": body} if body else {})}


def _stream(name: str, summary: str, parameters: list[Any], answer: str) -> dict[str, Any]:
    """A GET that reads a stream, or finds nothing to read."""
    operation = _operation(name, summary, parameters, answer, media_type=_EVENTS)
    operation["responses"]["204"] = {"description": "There is nothing more to read."}
    return {"get": operation}


def _operation(
    name: str, summary: str, parameters: list[Any], answer: str, *, status: str = "200", media_type: str = _JSON
) -> dict[str, Any]:
    error = {"description": "The error.", "content": _content(_ref("Error"))}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": {
            status: {"description": answer, "content": _content(_ref(answer), media_type)},
            "4XX": error,
            "5XX": error,
        },
    }


def _body(schema: Schema, *, with_files: bool = False) -> dict[str, Any]:
    content = _content(schema)
    if with_files:
        file = {"type": "string", "contentMediaType": "application/octet-stream"}
        files = {"type": "array", "items": file, "description": "Files to send. The body is multipart then."}
        content["multipart/form-data"] = {"schema": _object({**_MULTIPART, "files": files})}
    return {"required": True, "content": content}


_MULTIPART = {
    "input": _TEXT,
    "variables": {"type": "string", "contentMediaType": "application/json"},
    "session_id": {"type": "string", "minLength": 1, "maxLength": 255},
}


def _content(schema: Schema, media_type: str = _JSON) -> dict[str, Any]:
    return {media_type: {"schema": schema}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _closed(properties: Schema) -> Schema:
    return _object(properties, required=list(properties))
