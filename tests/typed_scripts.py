"""How a type checker sees the test kit. Nothing here is executed."""

from zango_ai.exceptions import LLMTimeoutError
from zango_ai.testing import ScriptAgent, always, calls, fails, says, scripted


def test_right(scripted_agent: ScriptAgent) -> None:
    agent = scripted_agent("helper", "One.", says({"dose": 2}), temperature=0.2, system_prompt="Be brief.")
    agent.script(calls("find", name="Ada") + says("Hm."), fails(LLMTimeoutError), lambda asked: asked.input)
    agent.script(always(says("Two.").with_usage(input_tokens=5)))
    names: list[str] = agent.last_request.tools + agent.executed_tools
    assert names
    with scripted("helper", says("One."), max_tokens=5) as other:
        other.assert_tool_called("find", name="Ada")


def test_wrong(scripted_agent: ScriptAgent) -> None:
    scripted_agent("helper", 5)  # wrong
    scripted_agent("helper", temprature=0.2)  # wrong
    agent = scripted_agent("helper", {"dose": 2})  # wrong
    agent.script(fails("busy"))  # wrong
    agent.assert_asked(times="2")  # wrong
    says("One.", stop_reason="done")  # wrong
