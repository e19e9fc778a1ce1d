"""Months, minutes and estimates."""

import base64
import random
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zango_ai.ledger import money, months, rate_limits
from zango_ai.providers import litellm_import, token_estimate

DAYS = st.dates(date(2020, 1, 1), date(2040, 12, 31))


@pytest.mark.parametrize(
    ("today", "reset_day", "start", "end"),
    [
        (date(2026, 11, 25), 1, date(2026, 11, 1), date(2026, 12, 1)),
        (date(2026, 11, 25), 25, date(2026, 11, 25), date(2026, 12, 25)),
        (date(2026, 11, 24), 25, date(2026, 10, 25), date(2026, 11, 25)),
        (date(2026, 1, 3), 15, date(2025, 12, 15), date(2026, 1, 15)),
        (date(2026, 2, 28), 31, date(2026, 2, 28), date(2026, 3, 31)),
        (date(2026, 2, 27), 31, date(2026, 1, 31), date(2026, 2, 28)),
        (date(2028, 2, 29), 30, date(2028, 2, 29), date(2028, 3, 30)),
    ],
)
def test_a_month_begins_on_its_day(today, reset_day, start, end):
    assert months.month_start(today, reset_day) == start
    assert months.next_month_start(start, reset_day) == end


@given(DAYS, st.integers(1, 31))
def test_every_day_is_in_one_month(today, reset_day):
    start = months.month_start(today, reset_day)
    end = months.next_month_start(start, reset_day)
    assert start <= today < end
    assert months.month_start(end, reset_day) == end
    assert months.month_start(end - timedelta(days=1), reset_day) == start


TEXTS = {
    "English": "The patient was seen on Monday with dizziness on standing. See again in six weeks. " * 30,
    "German": "Die Patientin stellte sich mit Schwindel beim Aufstehen vor; Überweisung zur Kardiologie. " * 30,
    "Chinese": "患者于周一就诊，主诉站立时头晕。雷米普利减至2.5毫克，六周后复诊。" * 30,
    "Arabic": "حضر المريض يوم الاثنين وهو يشكو من دوار عند الوقوف. " * 30,
    "emoji": "😀🎉🧑‍⚕️💊🩺" * 50,
    "JSON": '[{"id": 17, "price": 23.29, "name": "item-17"}, {"id": 18, "price": null}]' * 30,
    "digits": "1 2 3 4 5 6 7 8 9 0 " * 100,
    "base64": base64.b64encode(random.Random(1).randbytes(3000)).decode(),
    "a gene": "".join(random.Random(2).choices("ACGT", k=3000)),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-3.5-turbo", "claude-sonnet-4-5"])
def test_tokens_are_estimated_upward(name, model):
    real = litellm_import.load().token_counter(model=model, text=TEXTS[name])
    assert real <= token_estimate.estimate_prompt_tokens([TEXTS[name]]) <= 6 * real


def test_a_lone_surrogate_can_be_counted():
    assert token_estimate.estimate_prompt_tokens(["a\ud800b"])


@given(st.integers(1, 10_000), st.integers(1, 100_000))
def test_a_call_takes_its_share_of_the_minute_and_no_more_than_all_of_it(per_minute, amount):
    assert 0 < rate_limits.share_s(amount, per_minute) <= 60


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        ("0", "$0.00"),
        ("0E-8", "$0.00"),
        ("12.5", "$12.50"),
        ("1234567.0000", "$1,234,567.00"),
        ("0.00001260", "$0.0000126"),
        ("0.25000000", "$0.25"),
    ],
)
def test_money_is_shown_to_the_cent_and_as_much_further_as_it_goes(usd, shown):
    assert money.format_usd(Decimal(usd)) == shown
