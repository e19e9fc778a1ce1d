"""Every page of the panel in a real browser: it has the section tabs, and nothing is cut off or unreadable."""

import pytest

from tests import panel_data
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from zango_ai.models import Invocation

LISTS = ["agentconfig", "provider", "prompt", "tool", "toolcall", "memorysession", "invocation", "spend"]


@pytest.fixture
def filled(site):
    panel_data.fill(runs=30)
    return site


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, SCHEMES, strict=True)])
def test_lists_and_forms_fit_their_screen_and_have_no_barrier(browser, filled, width, scheme):
    page = open_page(browser, filled, width=width, scheme=scheme)
    for name in LISTS:
        page.goto(f"/admin/zango_ai/{name}/")
        assert page.locator(".za-tabs a[aria-current]").count() == 1, name
        assert_sound(page)


def test_a_filter_menu_opens_and_narrows_the_list(browser, filled):
    page = open_page(browser, filled)
    page.goto("/admin/zango_ai/invocation/")
    page.click(".za-filters summary >> nth=0")
    page.click(".za-menu[open] a:text-is('Awaiting approval')")
    assert page.locator("#result_list tbody tr").count() == 2
    assert "Awaiting approval" in page.inner_text(".za-menu summary.za-set")
    page.click("text=Clear all filters")
    assert page.locator("#result_list tbody tr").count() == Invocation.objects.count()


def test_on_a_telephone_each_row_says_which_column_a_value_belongs_to(browser, filled):
    page = open_page(browser, filled, width=390)
    page.goto("/admin/zango_ai/agentconfig/")
    cell = page.locator("#result_list tbody tr:first-child td.field-target")
    assert cell.evaluate("cell => getComputedStyle(cell, '::before').content") == '"Model"'
