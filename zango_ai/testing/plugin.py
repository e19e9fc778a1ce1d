"""The pytest plugin. pytest loads it in every project in whose environment zango_ai is installed.

Loading it imports neither Django nor anything of zango_ai that needs Django. Fixtures import what they need.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

import pytest

from ..providers import real_calls

if TYPE_CHECKING:
    from ..definitions import AgentOptions
    from .cassettes import Cassette
    from .scripted_models import ScriptAgent, ScriptedAgent, ScriptedModel, ScriptedProvider, ScriptProvider
    from .scripted_server import ScriptedModelServer
    from .steps import ScriptItem


class Checked(Protocol):
    """What a test has to use up."""

    def problem(self) -> str | None: ...


Model = TypeVar("Model", bound="ScriptedModel")

_MARKER = "real_provider_calls"
_MODELS = pytest.StashKey[list["ScriptedModel"]]()
"""The scripted models of a test."""
_CASSETTE = pytest.StashKey["Cassette"]()
_RECORDED = "zango_ai_recorded"
_SERVERS = pytest.StashKey[list["ScriptedModelServer"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("zango_ai").addoption(
        "--zango-ai-record",
        choices=("never", "missing", "all"),
        help="Tests with the cassette fixture: replay (never, the default), record if there is no recording "
        "(missing), or record again (all). Recording calls real providers.",
    )
    parser.addini(
        f"zango_ai_{_MARKER}", "Let all tests call model providers (default: false).", type="bool", default=False
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{_MARKER}: let this test call model providers; it needs keys and money.")
    before = real_calls.set_allowed(bool(config.getini(f"zango_ai_{_MARKER}")))
    config.add_cleanup(lambda: real_calls.set_allowed(before))  # type: ignore[arg-type]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    if item.get_closest_marker(_MARKER) is None:
        yield
        return
    with real_calls.allowed():
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Fail a test that has passed, but has not used up its scripts."""
    outcome = yield
    models = item.stash.get(_MODELS, [])
    if outcome.excinfo is not None:
        _report_requests(item, models)
        return
    tape = item.stash.get(_CASSETTE, None)
    scripts: list[Checked] = [*models, *item.stash.get(_SERVERS, [])]
    scripts += [] if tape is None else [tape]
    problems = [problem for each in scripts if (problem := each.problem()) is not None]
    if problems:
        outcome.force_exception(pytest.fail.Exception("\n".join(problems), pytrace=False))
    elif tape is not None and tape.save():
        item.user_properties.append((_RECORDED, str(tape.path)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the cassettes that were recorded, by the workers of pytest-xdist too."""
    reports = terminalreporter.getreports("passed")
    for path in [value for report in reports for name, value in report.user_properties if name == _RECORDED]:
        terminalreporter.write_line(f"zango_ai recorded {path}")


def _report_requests(item: pytest.Item, models: list[ScriptedModel]) -> None:
    """Show in the report of a failed test what its models were asked."""
    for model in models:
        requests = [f"{number}. {request}" for number, request in enumerate(model.requests, start=1)]
        item.add_report_section("call", f"requests of {model.steps.owner}", "\n".join(requests) or "none")


@pytest.fixture
def scripted_agent(request: pytest.FixtureRequest) -> Iterator[ScriptAgent]:
    """``scripted_agent(name, *steps, **options)``: let a script answer in place of the agent's model.

    Returns the ``ScriptedAgent``, with what it was asked. Called again with the name, it adds steps. The test fails
    if the agent asks its model more often than the script has steps, or less often.
    """
    from . import scripted_models, scripted_rows

    with ExitStack() as stack:

        def script(name: str, *steps: ScriptItem, **options: Unpack[AgentOptions]) -> ScriptedAgent:
            scripted_rows.ensure_agent(name, options)
            return _scripted(request, stack, scripted_models.ScriptedAgent(name), steps)

        yield script


@pytest.fixture
def scripted_provider(request: pytest.FixtureRequest) -> Iterator[ScriptProvider]:
    """``scripted_provider(name, *steps)``: the same for all calls to a provider of agents that have no script."""
    from . import scripted_models, scripted_rows

    with ExitStack() as stack:

        def script(name: str, *steps: ScriptItem) -> ScriptedProvider:
            scripted_rows.ensure_provider(name)
            return _scripted(request, stack, scripted_models.ScriptedProvider(name), steps)

        yield script


@pytest.fixture(scope="session")
def _zango_ai_model_server() -> Iterator[ScriptedModelServer]:
    from .scripted_server import ScriptedModelServer

    with ScriptedModelServer() as server:
        yield server


@pytest.fixture
def model_server(
    request: pytest.FixtureRequest, _zango_ai_model_server: ScriptedModelServer
) -> Iterator[ScriptedModelServer]:
    """A model server on loopback that the settings allow, with nothing asked and nothing scripted.

    The test fails if it has a script that is not used up, or that has too few replies.
    """
    from .scripted_server import allowed

    server = _zango_ai_model_server
    server.reset()
    request.node.stash[_SERVERS] = [server]
    with allowed(server):
        yield server
    request.node.stash[_SERVERS] = []
    server.reset()


@pytest.fixture
def cassette(request: pytest.FixtureRequest) -> Iterator[Cassette]:
    """Replay the test's recorded calls to providers from ``cassettes/<module>/<test>.yaml`` beside its module.

    To record them: ``pytest --zango-ai-record=missing`` with providers that work. The test fails if a run asks
    something else than what was recorded, or less.
    """
    from .cassettes import open_cassette

    path = request.path.parent / "cassettes" / request.path.stem / f"{_file_name(request.node)}.yaml"
    command = f"pytest {shlex.quote(request.node.nodeid)} --zango-ai-record=all"
    with open_cassette(path, request.config.getoption("--zango-ai-record"), command) as opened:
        request.node.stash[_CASSETTE] = opened
        yield opened
        del request.node.stash[_CASSETTE]


def _file_name(node: pytest.Item) -> str:
    """The test's name with its class and its parameters, as a file name."""
    names = [parent.name for parent in node.listchain() if isinstance(parent, pytest.Class)]
    return re.sub(r"[^\w.-]+", "-", ".".join([*names, node.name])).strip("-")


def _scripted(request: pytest.FixtureRequest, stack: ExitStack, model: Model, steps: tuple[Any, ...]) -> Model:
    """The model with these steps, or the earlier one of its name."""
    from .stage import STAGE

    found = STAGE.find(model.kind, model.name)
    if found is None:
        stack.enter_context(STAGE.playing(model=model))
        models = request.node.stash.setdefault(_MODELS, [])
        models.append(model)
        stack.callback(models.remove, model)  # a plugin may run the test again
    else:
        assert isinstance(found, type(model))
        model = found
    model.script(*steps)
    return model
