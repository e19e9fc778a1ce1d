"""The comparison of two versions of a prompt."""

from zango_ai.prompts.diff import MAX_COMPARED_LINES, compare


def kinds(old, new):
    return [row.kind for row in compare(old, new)]


def test_equal_texts_have_the_same_lines_with_their_numbers():
    rows = compare("a\nb", "a\nb")
    assert [(row.kind, row.old_number, row.new_number) for row in rows] == [("same", 1, 1), ("same", 2, 2)]


def test_a_changed_line_shows_the_words_that_changed():
    (row,) = compare("You are a kind doctor.", "You are a brief doctor.")
    assert row.kind == "changed"
    assert [text for text, changed in row.old if changed] == ["kind"]
    assert [text for text, changed in row.new if changed] == ["brief"]
    assert "".join(text for text, _ in row.new) == "You are a brief doctor."


def test_lines_with_nothing_in_common_are_removed_and_added():
    assert kinds("Speak Latin always", "{{ name }}") == ["removed", "added"]


def test_an_inserted_line_leaves_the_others_alone():
    rows = compare("a\nc", "a\nb\nc")
    assert [(row.kind, row.old_number, row.new_number) for row in rows] == [
        ("same", 1, 1),
        ("added", None, 2),
        ("same", 2, 3),
    ]


def test_very_long_texts_are_compared_as_a_whole():
    long = "\n".join(str(n) for n in range(MAX_COMPARED_LINES + 1))
    assert set(kinds(long, long)) == {"same"}
    assert kinds(long, long + "\nx")[-1] == "added"


def test_very_long_lines_are_not_compared_word_by_word():
    assert kinds("a " * 5000, "b " + "a " * 5000) == ["removed", "added"]
