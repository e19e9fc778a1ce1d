"""Celery tasks: ``BaseTask`` for an application's own, and the periodic ones of this package."""

from __future__ import annotations

from .base import BaseTask
from .upkeep import maintain

__all__ = ["BaseTask", "maintain"]
