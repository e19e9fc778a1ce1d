"""No value keeps a run from leaving its row: whatever Hypothesis finds to pass, and to be answered."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.build import make_agent, make_prompt
from zango_ai import LLMMessage, get_agent
from zango_ai.exceptions import ZangoAIError
from zango_ai.models import AgentConfig, Invocation
from zango_ai.testing import Reply

# Any code points: NUL, lone surrogates, and what is not assigned.
texts = st.text(st.characters(), max_size=60)
values = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(max_size=20)),
        *(st.decimals(), st.dates(), st.datetimes(timezones=st.just(UTC)), st.timedeltas(), st.uuids()),
        *(st.complex_numbers(), st.just(AgentConfig()), st.just(object), st.just(Decimal("sNaN"))),
        st.integers(min_value=10**4000, max_value=10**4001),
    ),
    lambda inner: st.one_of(
        *(st.lists(inner, max_size=4), st.tuples(inner, inner), st.frozensets(st.integers(), max_size=3)),
        st.dictionaries(st.one_of(texts, st.integers(), st.none(), st.dates()), inner, max_size=4),
    ),
    max_leaves=12,
)
some = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def row_of(run) -> Invocation:
    """The row of a run that may have raised; each has one, and it is over."""
    before = Invocation.objects.count()
    try:
        key = run().invocation_id
    except (ZangoAIError, ValueError, TypeError, OverflowError, ArithmeticError) as exc:
        key = exc.invocation_id
    assert Invocation.objects.count() == before + 1
    row = Invocation.objects.get(pk=key)
    assert row.finished_at is not None
    return row


@some
@given(asked=texts, answered=texts, user_ref=values)
def test_any_text_and_any_user(model, live_north, asked, answered, user_ref):
    if not AgentConfig.objects.exists():
        make_agent(model)
    model.reset()
    model.script(Reply(answered))
    assert row_of(lambda: get_agent("helper").run(asked, user_ref=user_ref)).status == "success"


@some
@given(given_values=st.dictionaries(texts, values, max_size=4), value=values)
def test_any_variables(model, live_north, given_values, value):
    if not AgentConfig.objects.exists():
        make_agent(model, user_prompt=make_prompt("{{ value }}"))
    variables = {**given_values, "value": value}
    run = row_of(lambda: get_agent("helper").run(variables=variables, system_variables=given_values))
    assert run.variables is not None
    assert run.system_variables is not None


@some
@given(said=st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), texts), min_size=1, max_size=5))
def test_any_messages(model, live_north, said):
    if not AgentConfig.objects.exists():
        make_agent(model)
    messages = [LLMMessage(role, text) for role, text in said]
    assert row_of(lambda: get_agent("helper").run(messages=messages)).rounds_count == 1


@some
@given(moment=st.one_of(st.dates(), st.datetimes(), st.timedeltas()))
def test_any_date(model, live_north, moment):
    if not AgentConfig.objects.exists():
        make_agent(model, user_prompt=make_prompt("{{ when }}"))
    row = row_of(lambda: get_agent("helper").run(variables={"when": moment}))
    assert row.variables == {"when": str(moment)}
    assert isinstance(moment, (date, datetime, timedelta))
