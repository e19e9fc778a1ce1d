import pytest

from zango_ai.engine import drivers, turns
from zango_ai.types import LLMMessage, LLMUsage, ModelAnswer, ModelRequest

REQUEST = ModelRequest("m", (LLMMessage("user", "hi"),), temperature=0.0, max_tokens=5, timeout_s=1.0)
ANSWER = ModelAnswer("hello", "m", "end_turn", LLMUsage(1, 1), None, {})


def test_one_question_gets_one_answer():
    asked = []

    def ask(step):
        asked.append(step)
        return ANSWER

    assert drivers.drive(turns.converse(REQUEST), ask) is ANSWER
    assert asked == [turns.Ask(1, REQUEST)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_asking_raises_ends_the_conversation(error):
    conversation = turns.converse(REQUEST)

    def ask(step):
        raise error

    with pytest.raises(error):
        drivers.drive(conversation, ask)
    assert conversation.gi_frame is None
