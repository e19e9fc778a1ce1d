import pytest
from hypothesis import given
from hypothesis import strategies as st

from zango_ai.exceptions import PromptRenderError
from zango_ai.prompts import rendering


def render(content, **values):
    renderer = rendering.Renderer()
    text = renderer.render(content, values, prompt_name="p")
    renderer.finish()
    return text


def test_both_spellings_of_a_placeholder_are_filled():
    assert render("{{name}}, {{ name }}", name="Ada") == "Ada, Ada"


def test_every_missing_placeholder_is_named_once_in_order():
    with pytest.raises(PromptRenderError) as caught:
        render("{{ b }} {{a}} {{ b }} {{ c }}", c=1)
    assert caught.value.missing_vars == ["b", "a"]
    assert "b, a" in str(caught.value)


def test_text_that_comes_out_of_a_value_is_not_rendered_again():
    assert render("{{ a }} {{ b }}", a="{{ b }}", b="{{ a }}") == "{{ b }} {{ a }}"


def test_none_is_empty_text_and_other_values_are_their_str():
    assert render("[{{ a }}] {{ b }} {{ c }}", a=None, b=4.50, c=[1]) == "[] 4.5 [1]"


@pytest.mark.parametrize(
    "content", ['{"a": {"b": 1}}', "{{}}", "{{ a.b }}", "{{ a|upper }}", "{ a }", "{% if a %}"]
)
def test_what_is_no_placeholder_is_left_as_it_is(content):
    assert render(content) == content


def test_almost_placeholders_can_be_warned_about():
    content = "{{ a.b }} {{ ok }} {{patient-id}} {% if a %}x{%- endif -%} {{ a.b }} Hi {{ shop, how {{ are\nyou }}"
    assert rendering.find_mistakes(content) == [
        "{{ a.b }}",
        "{{patient-id}}",
        "{% if a %}",
        "{%- endif -%}",
        "{{ shop, how",
        "{{ are",
    ]


@pytest.mark.parametrize(
    "content",
    [
        '{"a": {"b": 1}}',
        '{{"a": 1}}',
        "{{}}",
        "{ a }",
        "{a}",
        "{{ a }}}}",
        "100 {%}",
        "{{{ a }}}",
        "{{ " + "a" * 99 + " }}",
    ],
)
def test_other_braces_are_no_mistakes(content):
    assert rendering.find_mistakes(content) == []


BLANKS = " " * 50_000


@pytest.mark.parametrize(
    "content",
    [
        "{{" + BLANKS,
        "{{ a" + BLANKS,
        "{{ a" + BLANKS + "b",
        ("{{" + " " * 500) * 100,
        "{{" + "a" * 50_000,
        "{" * 50_000,
        "{%" * 25_000,
        "{{ a." * 10_000,
    ],
)
def test_placeholders_are_found_in_linear_time(content):
    """With time that grows as the square of the length, this takes minutes."""
    for _ in range(20):
        rendering.find_mistakes(content)
        rendering.find_placeholders(content)


@given(st.text(), st.dictionaries(st.sampled_from("abc"), st.text(), min_size=3))
def test_rendering_is_one_pass_over_any_text(content, values):
    rendered = render(content.replace("{{", "{ {") + "{{ a }}|{{ b }}", **values)
    assert rendered.endswith(f"{values['a']}|{values['b']}")
