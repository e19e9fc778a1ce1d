"""Celery tasks: ``BaseTask`` for an application's own, and those of this package."""

from __future__ import annotations

from .agents import RunAgent
from .base import BaseTask
from .maintenance import maintain

__all__ = ["BaseTask", "RunAgent", "maintain"]
