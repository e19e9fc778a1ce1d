"""Signals for applications. Receivers run in the thread and the schema of the run.

A signal is sent after the statement that writes its news, and while no lock is held. It waits for its receivers,
and so does the run: pass long work to a task. An exception in a receiver is logged and never reaches the run. No
signal has texts (prompts, answers, arguments, results, messages of errors) or credentials: read them from the log
by ``invocation_id``. Accept ``**kwargs``, because later releases may add arguments.

Every signal of a run has ``sender=Invocation`` and these keyword arguments:

- ``schema``, ``run_id`` (UUID), ``invocation_id`` (the row's primary key)
- ``agent_name`` (``""`` for a direct call of a provider), ``triggered_by`` (``user``, ``task`` or ``system``)
- ``provider_name`` and ``model``: of the current or last call; ``""`` if the run had none
"""

from __future__ import annotations

from django.dispatch import Signal

run_started = Signal()
"""Sent once per run, just before its first call to a provider. The run's row is ``running`` then.

A run that fails before that has only a ``run_finished``. A run that is retried in the background or resumed after
an approval is not started again.
"""

round_finished = Signal()
"""Sent when a call to a provider has ended: with an answer, an error, or because the run was cancelled.

Further keyword arguments: ``number`` (from 1), ``status`` (``success``, ``failed``, ``timeout``,
``rate_limited``, ``cancelled``), ``stop_reason``, ``error_type`` (``""`` without an error), ``usage``
(``LLMUsage``), ``cost_usd`` (Decimal; None if it is unknown), ``latency_ms`` and ``time_to_first_token_ms`` (None
unless it was streamed). Not sent for a call whose process was killed.
"""

tool_called = Signal()
"""Sent when a tool call of the model has ended, whether the tool was executed or the call was refused.

Further keyword arguments: ``number`` (of the round), ``tool_name``, ``call_id``, ``status`` (that of the row:
``success``, ``error``, ``denied``, ...) and ``duration_ms`` (None if the tool was not executed). Not sent for a
call that waits for an approval, and not for one whose process was killed or whose approval has expired.
"""

run_finished = Signal()
"""Sent when a run has ended, with or without success. Not sent when a run waits for approval or will be retried.

Further keyword arguments: ``status``, ``error_type``, ``rounds_count``, ``usage`` (``LLMUsage``), ``cost_usd``
(None if it is unknown) and ``latency_ms`` (None if it was not measured). If the run's process was killed,
maintenance sends it with the status ``abandoned``. If that process goes on after all, because it was only
suspended, the signal is sent again with the status that then holds.
"""

approval_requested = Signal()
"""Sent when a run waits for a person's approval, once for all its waiting tool calls.

Further keyword arguments: ``user_ref``, and ``tool_calls``: a tuple of dicts with ``id`` (for ``resume()``),
``tool_name`` and ``expires_at``.
"""

budget_threshold_crossed = Signal()
"""Sent when spend reaches ``budget_alert_threshold``, once per budget and month.

``sender`` is the model with the budget: ``Provider`` or ``AgentConfig``. Keyword arguments: ``schema``;
``provider_name``; ``agent_name`` (None for a provider's budget); ``budget_limit`` and ``spent_usd`` (Decimal);
``percent`` (the threshold); ``month_start`` (a date).
"""
