"""Signals for applications. Receivers run in the thread and the schema of the run."""

from __future__ import annotations

from django.dispatch import Signal

run_finished = Signal()
"""Sent when a run has ended, with or without success. Not sent when a run waits for approval or will be retried.

``sender`` is ``Invocation``. Keyword arguments: ``schema``, ``run_id``, ``invocation_id``, ``agent_name``,
``status``. Sent after the row is written. If the run's process was killed, maintenance sends it. An exception in a
receiver is logged.
"""

budget_threshold_crossed = Signal()
"""Sent when spend reaches ``budget_alert_threshold``, once per budget and month.

``sender`` is the model with the budget: ``Provider`` or ``AgentConfig``. Keyword arguments: ``schema``;
``provider_name``; ``agent_name`` (None for a provider's budget); ``budget_limit`` and ``spent_usd`` (Decimal);
``percent`` (the threshold); ``month_start`` (a date). Sent after the spend is written. An exception in a receiver
is logged and does not reach the caller of the run.
"""
