"""Amazon Bedrock, by its Converse API. Requests are signed with the tenant's AWS keys (Signature Version 4)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_noop as _

from ...files.media_types import PDF
from .base import API_BASE, CredentialSlot, Kind

if TYPE_CHECKING:
    import httpx

    from ...types import Secrets

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OTHER_APIS = {
    *("invoke", "converse_like", "claude_platform", "chat_completions"),
    *("agent", "agentcore", "async_invoke", "mantle"),
}
"""Parts of a model's name with which litellm calls another API of Bedrock."""


class _Bedrock(Kind):
    def litellm_arguments(self, credentials: Secrets) -> dict[str, Any]:
        # Given a key, litellm looks for no AWS credentials in the host's environment, profile files or STS.
        region = str(credentials.get("aws_region_name") or "").strip()
        base = self.base_url(credentials)
        return {"api_key": "none", "aws_region_name": region, "aws_bedrock_runtime_endpoint": base}

    def litellm_client(
        self, http: httpx.Client | httpx.AsyncClient, credentials: Secrets, arguments: Mapping[str, Any]
    ) -> Any:
        from .. import http_exchange

        http_exchange.add_request_hook(http, lambda request: self._sign(request, credentials))
        return super().litellm_client(http, credentials, arguments)

    def _sign(self, request: httpx.Request, credentials: Secrets) -> None:
        from botocore import auth, awsrequest
        from botocore import credentials as aws

        values = {slot.name: str(credentials.get(slot.name) or "").strip() for slot in self.slots}
        keys = aws.Credentials(
            values["aws_access_key_id"], values["aws_secret_access_key"], values["aws_session_token"] or None
        )
        for name in ("authorization", "x-amz-date", "x-amz-security-token"):
            request.headers.pop(name, None)
        headers = {"Content-Type": request.headers["content-type"], "X-Amz-Content-SHA256": _body_digest(request)}
        signed = awsrequest.AWSRequest("POST", str(request.url), headers)
        auth.SigV4Auth(keys, "bedrock", values["aws_region_name"]).add_auth(signed)
        request.headers.update(signed.headers.items())

    def problem_of_model(self, model: str) -> str | None:
        if not _OTHER_APIS.isdisjoint(model.lower().split("/")[:-1]):
            return "It names another API than Bedrock's Converse, which is not supported."
        return super().problem_of_model(model)

    def accepts_schema(self, schema: Mapping[str, Any]) -> bool:
        return False  # litellm would force a call of a tool of its own, and the model could call no other


def _body_digest(request: httpx.Request) -> str:
    """SHA-256 of the body, with the contents of its files."""
    from .. import http_exchange

    http_exchange.fill_placeholders(request)
    digest = hashlib.sha256()
    for piece in request.stream:  # type: ignore[union-attr]
        digest.update(piece)
    return digest.hexdigest()


BEDROCK = _Bedrock(
    name="bedrock",
    label="Amazon Bedrock",
    slots=(
        CredentialSlot("aws_access_key_id", _("AWS access key ID"), is_secret=True, is_required=True),
        CredentialSlot("aws_secret_access_key", _("AWS secret access key"), is_secret=True, is_required=True),
        CredentialSlot("aws_session_token", _("AWS session token"), is_secret=True),
        CredentialSlot(
            "aws_region_name",
            _("AWS region"),
            is_required=True,
            help_text=_("for example %(example)s."),
            example="eu-central-1",
        ),
        API_BASE,
    ),
    litellm_prefix="bedrock/converse",
    api_base="https://bedrock-runtime.{aws_region_name}.amazonaws.com",
    price_lists=("bedrock", "bedrock_converse"),
    document_types=(
        *(PDF, "application/msword", "application/vnd.ms-excel"),
        *(f"{_OFFICE}.wordprocessingml.document", f"{_OFFICE}.spreadsheetml.sheet"),
    ),
    fetches_images=False,
    is_vendor_read_from_model=True,
)
