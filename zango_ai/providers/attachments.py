"""Which files a model accepts, and how many tokens a file may use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from ..conf import get_conf
from ..exceptions import LLMFileError
from ..files.file import LLMFile
from ..files.media_types import IMAGE_TYPES, PDF
from ..types import Target
from . import addresses
from .model_info import ModelInfo
from .token_estimate import estimate_text_tokens

_IMAGE_TOKENS = 3_000
_IMAGE_TOKENS_BY_MODEL = {"gpt-4o-mini": 48_169}
"""Eight tiles and a base for a large image. This model counts more tokens than gpt-4o for the same price."""
_PAGE_TOKENS = 3_000
_PDF_BYTES_PER_PAGE = 50_000
_IF_IT_DOES = (
    "Choose a model that does. If this one does, say so in the provider's list of models, and list there what else "
    "it may use."
)
_PAGES = re.compile(rb"/Count\s+(\d{1,6})")
_PAGE = re.compile(rb"/Type\s*/Page\b(?!s)")


def require_accepted(target: Target, files: Iterable[LLMFile], model: ModelInfo) -> None:
    """Raises LLMFileError for the first file that the target's model cannot take."""
    for file in files:
        problem = _url_problem(target, file, model) or _type_problem(file, model)
        if problem is not None:
            raise LLMFileError(
                file.filename,
                f"File {file.filename!r} ({file.media_type or 'of unknown type'}) cannot be sent to model "
                f"{target.model!r} of provider {target.provider.name!r}: {problem}",
            )


def _url_problem(target: Target, file: LLMFile, model: ModelInfo) -> str | None:
    """Why the provider may not fetch the file from its URL."""
    if file.url is None:
        return None
    base = model.kind.base_url(target.provider.credentials)
    return addresses.problem_of_file(file.url, base, get_conf().allowed_api_bases)


def _type_problem(file: LLMFile, model: ModelInfo) -> str | None:
    kind, is_url = model.kind, file.url is not None
    if not file.media_type:
        return "its type is not known. Use a filename with a suffix (report.pdf), or pass media_type."
    if file.is_text:
        return "text is not fetched from a URL. Pass its content." if is_url else None
    if file.media_type in IMAGE_TYPES:
        if model.accepts("images") is False:
            return f"the model takes no images. {_IF_IT_DOES}"
        return f"{kind.label} fetches no images. Pass the content." if is_url and not kind.fetches_images else None
    if file.media_type not in kind.document_types:
        types = ", ".join(("PNG, JPEG, GIF and WebP images", "text", *map(_display_name, kind.document_types)))
        return f"{kind.label} takes {types}."
    if model.accepts("documents") is False:
        return f"the model takes no documents. {_IF_IT_DOES}"
    if is_url and not kind.fetches_documents:
        return f"{kind.label} fetches no documents. Pass the content."
    return None


def _display_name(media_type: str) -> str:
    return "PDF" if media_type == PDF else media_type


def tokens_of(file: LLMFile, model: str) -> int:
    """An estimate of the file's tokens. Pages in a compressed PDF cannot be counted, so its size counts too."""
    if file.is_text and file.data is not None:
        return estimate_text_tokens(file.data)
    if file.media_type in IMAGE_TYPES:
        return _IMAGE_TOKENS_BY_MODEL.get(model.rpartition("/")[2], _IMAGE_TOKENS)
    data = file.data or b""
    pages = sum(1 for _ in _PAGE.finditer(data))
    counted = max((int(found[1]) for found in _PAGES.finditer(data)), default=0)
    return _PAGE_TOKENS * max(pages, min(counted, 5_000), math.ceil(len(data) / _PDF_BYTES_PER_PAGE), 1)
