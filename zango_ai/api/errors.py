"""API errors: an HTTP status and ``{"error": {"type": ..., "message": ..., "field": ...}}``.

Clients get details only of errors that they can correct. Errors of the configuration, the provider or a budget get
a general message, and staff find the details in the log.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import connections
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.decorators import decorator_from_middleware

from ..exceptions import (
    AgentDisabled,
    AgentNotFound,
    DecisionNotAllowed,
    InputRequired,
    LLMFileError,
    LLMTimeoutError,
    NotAwaitingApproval,
    PromptRenderError,
    QueueUnavailable,
    RateLimitExceeded,
    RunCancelled,
    RunFailed,
    RunNotFound,
    SessionNotOwned,
    ZangoAIError,
)

logger = logging.getLogger("zango_ai.api")

View = Callable[..., HttpResponseBase]
_NOT_FOUND = (AgentNotFound, AgentDisabled, RunNotFound, SessionNotOwned)
_CLIENT_ERRORS: dict[type[ZangoAIError], str] = {
    InputRequired: "input",
    PromptRenderError: "variables",
    LLMFileError: "files",
}
_TOO_LARGE = "The request is too large for this server."


class ApiError(Exception):
    """An error response."""

    def __init__(self, status: int, kind: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.field = status, kind, field
        self.headers: dict[str, str] = {}

    def document(self) -> dict[str, Any]:
        error: dict[str, Any] = {"type": self.kind, "message": str(self)}
        if self.field is not None:
            error["field"] = self.field
        return {"error": error}

    def response(self) -> JsonResponse:
        return JsonResponse(self.document(), status=self.status, headers=self.headers)


def bad_request(message: str, field: str) -> ApiError:
    return ApiError(400, "InvalidRequest", message, field=field)


def not_found(what: str) -> ApiError:
    """The same response whether the object does not exist or belongs to another user."""
    return ApiError(404, "NotFound", f"{what} not found.")


class _CsrfCheck(CsrfViewMiddleware):
    """Django's own check, with the error as JSON."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponseBase:
        logger.warning("Forbidden (%s): %s", reason, request.path)
        message = f"The CSRF check failed: {reason} Send the token in the header X-CSRFToken."
        return ApiError(403, "CSRFFailed", message).response()


_csrf_protect = decorator_from_middleware(_CsrfCheck)


def endpoint(method: str, *, is_streamed: bool = False) -> Callable[[View], View]:
    """Allow one HTTP method, check the CSRF token, and return errors as JSON.

    A streamed response outlives the view, so ``ATOMIC_REQUESTS`` does not apply to it.
    """

    def decorate(view: View) -> View:
        protected = _csrf_protect(view)

        @wraps(view)
        def wrapped(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
            if request.method != method:
                error = ApiError(405, "MethodNotAllowed", f"Method not allowed. Use {method}.")
                error.headers["Allow"] = method
                return error.response()
            try:
                return protected(request, **arguments)
            except Exception as exc:
                return api_error(exc).response()

        wrapped.csrf_exempt = True  # type: ignore[attr-defined] # the middleware's own 403 is HTML
        if is_streamed:
            wrapped._non_atomic_requests = set(connections)  # type: ignore[attr-defined]
        return wrapped

    return decorate


def streamed_error(exc: Exception) -> ApiError:
    """The error to send when a stream has begun. Errors that only a bug explains are logged."""
    try:
        return api_error(exc)
    except Exception:
        logger.exception("A streamed run failed")
        return ApiError(500, "ServerError", "The server failed. Administrators can find the reason in its log.")


def api_error(exc: Exception) -> ApiError:
    """The error response for ``exc``. Reraises an exception that is not an API, request or zango_ai error."""
    if isinstance(exc, ApiError):
        return exc
    if isinstance(exc, RequestDataTooBig):
        return ApiError(413, "RequestTooLarge", _TOO_LARGE)
    if isinstance(exc, (TooManyFieldsSent, TooManyFilesSent, MultiPartParserError)):
        return bad_request("The body is not valid multipart/form-data.", "body")
    if not isinstance(exc, ZangoAIError):
        raise exc
    return _known_error(exc)


def _known_error(exc: ZangoAIError) -> ApiError:
    kind = exc.error_type if isinstance(exc, RunFailed) else type(exc).__name__
    if isinstance(exc, _NOT_FOUND):
        return not_found("Session" if isinstance(exc, SessionNotOwned) else "Agent or run")
    for error_class, field in _CLIENT_ERRORS.items():
        if isinstance(exc, error_class):
            return ApiError(400, kind, str(exc), field=field)
    if isinstance(exc, RunCancelled):
        return ApiError(409, kind, "The run was cancelled.")
    if isinstance(exc, NotAwaitingApproval):
        return ApiError(409, kind, "The run is not awaiting approval.")
    if isinstance(exc, DecisionNotAllowed):
        return ApiError(403, kind, "Another person has to decide about these tool calls.")
    logger.warning("API run failed: %s", exc)
    if isinstance(exc, RateLimitExceeded):
        error = ApiError(429, kind, "Too many requests. Try again later.")
        if exc.retry_after_seconds is not None and math.isfinite(exc.retry_after_seconds):
            error.headers["Retry-After"] = str(math.ceil(exc.retry_after_seconds))
        return error
    if isinstance(exc, LLMTimeoutError):
        return ApiError(504, kind, "The model did not answer in time. Try again later.")
    if isinstance(exc, QueueUnavailable):
        return ApiError(503, kind, "The run could not be queued. Try again later.")
    return ApiError(
        502, kind, "The agent could not answer. Administrators can find the reason in the invocation log."
    )
