"""What happens in a tenant, for an application to listen to. Receivers run in the thread and schema of the run."""

from __future__ import annotations

from django.dispatch import Signal

run_finished = Signal()
"""A run is over, however it has ended; not one that waits for an approval, or is tried again.

``sender`` is ``Invocation``. Keyword arguments: ``schema``, ``run_id``, ``invocation_id``, ``agent_name``,
``status``. It is sent after the row is written; of a run whose process was killed, by the maintenance that ends it.
What a receiver raises is logged.
"""

budget_threshold_crossed = Signal()
"""Spending has reached ``budget_alert_threshold``: once for each month, provider and agent.

``sender`` is ``Provider`` or ``AgentConfig``, whose budget it is. Keyword arguments: ``schema``; ``provider_name``;
``agent_name``, None where it is the provider's budget; ``budget_limit`` and ``spent_usd`` (Decimal); ``percent``
(the threshold); ``month_start`` (a date). It is sent after the spending is written; what a receiver raises is
logged and does not reach the caller of the run.
"""
