import pytest
from hypothesis import given
from hypothesis import strategies as st

from zango_ai import prompts
from zango_ai.exceptions import PromptRenderError


def render(content, **values):
    renderer = prompts.Renderer()
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
    assert prompts.find_mistakes("{{ a.b }} {{ ok }} {{patient-id}}") == ["a.b", "patient-id"]


@given(st.text(), st.dictionaries(st.sampled_from("abc"), st.text(), min_size=3))
def test_rendering_is_one_pass_over_any_text(content, values):
    rendered = render(content.replace("{{", "{ {") + "{{ a }}|{{ b }}", **values)
    assert rendered.endswith(f"{values['a']}|{values['b']}")
