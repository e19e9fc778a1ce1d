"""Spans and metrics of runs, as OpenTelemetry's SDK and a collector receive them."""

import asyncio
import contextlib
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.db import transaction
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from tests.build import make_agent, make_agent_with, make_prompt, make_provider
from zango_ai import LLMMessage, aget_agent, get_agent, get_provider, tool
from zango_ai import telemetry as package
from zango_ai.exceptions import InputRequired, LLMAPIError
from zango_ai.models import Invocation
from zango_ai.tasks import RunAgent
from zango_ai.telemetry import conventions as names
from zango_ai.testing import Call, ModelServer, Reply

SECRET = "Ada Berger, HIV positive"
CHAT, AGENT = "chat gpt-4o-mini", "invoke_agent helper"


def begin(name):
    """What code of an application, or an instrumentation of its libraries, does."""
    return trace.get_tracer_provider().get_tracer("application").start_as_current_span(name)


@tool(name="traced_lookup", description="Look a patient up.")
def traced_lookup(name: str) -> str:
    with begin("query"):
        return f"Result of {name}"


@tool(name="traced_async_lookup", description="Look a patient up.")
async def traced_async_lookup(name: str) -> str:
    with begin("query"):
        await asyncio.sleep(0)
        return "found"


@tool(name="traced_failure", description="Fail.")
def traced_failure() -> str:
    raise RuntimeError(SECRET)


@tool(name="traced_send", description="Send a letter.", requires_approval=True)
def traced_send() -> str:
    return "sent"


def is_child(child, parent):
    return child.parent is not None and child.parent.span_id == parent.context.span_id


def all_text(spans):
    return "".join(span.to_json() for span in spans.values())


def test_a_run_is_a_span_with_its_calls_and_tools_below_it(model, north, telemetry):
    make_agent_with(model, traced_lookup, short_term_memory=True, system_prompt=make_prompt(SECRET, "system"))
    call = Call("traced_lookup", {"name": SECRET})
    model.script(Reply(calls=[call], input_tokens=90, cache_read_tokens=50, cache_creation_tokens=7), SECRET)
    with begin("request"):
        response = get_agent("helper").run(SECRET, temperature=0.5, max_tokens=300)
    spans = telemetry.spans()
    assert list(spans) == ["request", AGENT, CHAT, "execute_tool traced_lookup", "query", f"{CHAT} 2"]
    run, first, executed, second = (
        spans[AGENT],
        spans[CHAT],
        spans["execute_tool traced_lookup"],
        spans[f"{CHAT} 2"],
    )
    assert is_child(run, spans["request"])
    assert is_child(spans["query"], executed)
    assert all(is_child(each, run) for each in (first, executed, second))
    common = {
        "gen_ai.conversation.id": response.session_id,
        "zango_ai.tenant": "north",
        "zango_ai.run_id": str(response.run_id),
    }
    asked = {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 300,
        "gen_ai.output.type": "text",
    }
    assert dict(first.attributes) == {
        **common,
        **asked,
        "gen_ai.operation.name": "chat",
        "gen_ai.response.model": response.model,
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.usage.input_tokens": 90,
        "gen_ai.usage.output_tokens": first.attributes["gen_ai.usage.output_tokens"],
        "gen_ai.usage.cache_read.input_tokens": 50,
        "gen_ai.usage.cache_write.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "zango_ai.round": 1,
    }
    assert second.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert dict(run.attributes) == {
        **common,
        **asked,
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "helper",
        "gen_ai.usage.input_tokens": response.usage.input_tokens,
        "gen_ai.usage.output_tokens": response.usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": 50,
        "gen_ai.usage.cache_write.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "zango_ai.invocation_id": response.invocation_id,
        "zango_ai.cost_usd": response.cost_usd,
        "zango_ai.triggered_by": "user",
        "zango_ai.status": "success",
    }
    assert dict(executed.attributes) == {
        **common,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "traced_lookup",
        "gen_ai.tool.call.id": response.tool_calls[0].id,
        "gen_ai.tool.type": "function",
        "zango_ai.status": "success",
    }
    kinds = (SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.INTERNAL)
    assert tuple(span.kind for span in (run, first, executed)) == kinds
    assert {span.status.status_code for span in spans.values()} == {StatusCode.UNSET}
    assert SECRET not in all_text(spans)


def test_durations_and_tokens_are_measured_under_the_new_names_and_the_old_ones(model, north, telemetry):
    make_agent_with(model, traced_lookup)
    model.script(Reply(calls=[Call("traced_lookup", {"name": "x"})], input_tokens=90, cache_read_tokens=50), "done")
    response = get_agent("helper").run("hi")
    points = telemetry.points()
    assert [point.value for point in points["gen_ai.client.inference.usage.input_tokens"]] == [
        response.usage.input_tokens
    ]
    assert [point.value for point in points["gen_ai.client.inference.usage.cache_read.input_tokens"]] == [50]
    assert "gen_ai.client.inference.usage.cache_write.input_tokens" not in points
    for name in ("gen_ai.client.inference.duration", "gen_ai.client.operation.duration"):
        (point,) = points[name]
        assert (point.count, point.explicit_bounds[0]) == (2, 0.01)
        assert dict(point.attributes) == {
            "zango_ai.tenant": "north",
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": response.model,
        }
    used = {point.attributes["gen_ai.token.type"]: point.sum for point in points["gen_ai.client.token.usage"]}
    assert used == {"input": response.usage.input_tokens, "output": response.usage.output_tokens}
    assert points["gen_ai.execute_tool.duration"][0].attributes["gen_ai.tool.name"] == "traced_lookup"
    assert points["gen_ai.invoke_agent.duration"][0].attributes["gen_ai.agent.name"] == "helper"


def test_a_failure_is_named_by_its_class_and_never_by_its_message(model, north, telemetry):
    make_agent_with(model, traced_failure)
    model.script(Reply(calls=[Call("traced_failure")]), Reply(SECRET, status=400))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    with pytest.raises(InputRequired):
        get_agent("helper").run()
    spans = telemetry.spans()
    errors = {name: span.attributes.get("error.type") for name, span in spans.items()}
    assert errors == {
        AGENT: "LLMAPIError",
        CHAT: None,
        "execute_tool traced_failure": "error",
        f"{CHAT} 2": "LLMAPIError",
        f"{AGENT} 2": "InputRequired",
    }
    assert spans[f"{CHAT} 2"].attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert {spans[name].status.status_code for name, error in errors.items() if error} == {StatusCode.ERROR}
    assert SECRET not in all_text(spans)


def test_the_spans_of_a_stream_end_with_it_and_do_not_leak_into_its_reader(model, live_north, telemetry):
    make_agent_with(model, traced_lookup)
    model.script(Reply(calls=[Call("traced_lookup", {"name": "x"})]), "one two three", "one two three four")
    with begin("request") as request:
        for _ in get_agent("helper").stream("hi"):
            assert trace.get_current_span() is request
        with contextlib.closing(get_agent("helper").stream("hi")) as chunks:
            next(chunks)
            assert f"{AGENT} 2" not in telemetry.spans()
    spans = telemetry.spans()
    assert all(is_child(spans[name], spans["request"]) for name in (AGENT, f"{AGENT} 2"))
    assert is_child(spans["query"], spans["execute_tool traced_lookup"])
    whole, closed = spans[f"{CHAT} 2"], spans[f"{CHAT} 3"]
    assert whole.attributes["gen_ai.request.stream"] is True
    assert whole.attributes["gen_ai.response.time_to_first_chunk"] >= 0
    assert closed.attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert closed.attributes["gen_ai.usage.output_tokens"] > 0
    assert spans[f"{AGENT} 2"].attributes["zango_ai.status"] == "cancelled"
    assert {span.status.status_code for span in spans.values()} == {StatusCode.UNSET}


def test_spans_of_async_runs_that_overlap_have_the_parents_of_their_own_tasks(
    model, live_north, telemetry, settings
):
    async def ask(name, is_streamed):
        with begin(f"request for {name}"):
            agent = await aget_agent(name)
            if is_streamed:
                return [chunk async for chunk in agent.astream("hi")]
            return await agent.arun("hi")

    async def ask_both():
        await asyncio.gather(ask("helper", False), ask("second", True))

    with ModelServer() as other:
        settings.ZANGO_AI = {"ALLOWED_API_BASES": [model.url, other.url]}
        make_agent_with(model, traced_lookup)
        make_agent_with(other, traced_async_lookup, name="second", provider=make_provider(other, name="other"))
        model.script(Reply(calls=[Call("traced_lookup", {"name": "x"})]), "done")
        other.script(Reply(calls=[Call("traced_async_lookup", {"name": "x"})]), "done")
        asyncio.run(ask_both())
    by_id = {span.context.span_id: span for span in telemetry.exporter.get_finished_spans()}
    paths = []
    for span in by_id.values():
        path = [span.name]
        while span.parent is not None:
            span = by_id[span.parent.span_id]
            path.insert(0, span.name)
        paths.append(path)
    for agent, function in (("helper", "traced_lookup"), ("second", "traced_async_lookup")):
        top = [f"request for {agent}", f"invoke_agent {agent}"]
        assert [*top, f"execute_tool {function}", "query"] in paths
        assert paths.count([*top, CHAT]) == 2


def test_a_worker_continues_the_trace_of_the_request_that_queued_the_run(model, live_north, telemetry):
    make_agent(model)
    with begin("request") as request, transaction.atomic():
        run = get_agent("helper").enqueue("hi")
        transaction.get_connection().run_on_commit.clear()  # no broker
    assert list(telemetry.spans()) == ["request"]
    RunAgent.apply([str(run.run_id)])
    spans = telemetry.spans()
    assert is_child(spans[AGENT], spans["request"])
    assert spans[AGENT].context.trace_id == request.get_span_context().trace_id
    assert is_child(spans[CHAT], spans[AGENT])


def test_a_resumed_run_links_to_the_run_that_waited(model, north, telemetry):
    make_agent_with(model, traced_send)
    model.script(Reply(calls=[Call("traced_send")]), "done")
    response = get_agent("helper").run("hi")
    with begin("approval"):
        get_agent("helper").resume(response.run_id, {response.pending_approvals[0].id: True})
    spans = telemetry.spans()
    waited, resumed = spans[AGENT], spans[f"{AGENT} 2"]
    assert waited.attributes["zango_ai.status"] == "awaiting_approval"
    assert is_child(resumed, spans["approval"])
    assert [link.context.span_id for link in resumed.links] == [waited.context.span_id]


def test_a_direct_call_has_only_the_span_of_its_call(model, north, telemetry):
    make_provider(model)
    with begin("request"):
        get_provider("main").complete([LLMMessage("user", "hi")])
    spans = telemetry.spans()
    assert list(spans) == ["request", CHAT]
    assert is_child(spans[CHAT], spans["request"])
    assert spans[CHAT].attributes["zango_ai.tenant"] == "north"


def test_a_broken_span_processor_never_reaches_the_run(model, north, telemetry, caplog):
    class Broken(SpanProcessor):
        def on_start(self, span, parent_context=None):
            raise RuntimeError("broken")

        def on_end(self, span):
            raise RuntimeError("broken")

    telemetry.provider.add_span_processor(Broken())
    make_agent_with(model, traced_failure)
    model.script(Reply(calls=[Call("traced_failure")]), "done")
    with caplog.at_level(logging.ERROR, "zango_ai.telemetry"):
        assert get_agent("helper").run("hi").content == "done"
    assert "OpenTelemetry could not" in caplog.text


def test_without_opentelemetry_a_run_records_nothing(model, north, telemetry, monkeypatch):
    modules = ("recording", "steps", "instruments")
    for name in modules:
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}", raising=False)
        monkeypatch.delattr(package, name, raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    package._recording.cache_clear()
    make_agent(model)
    try:
        response = get_agent("helper").run("hi")
        with pytest.raises(ModuleNotFoundError):
            __import__("zango_ai.telemetry.recording")
    finally:
        package._recording.cache_clear()
    assert Invocation.objects.get().run_id == response.run_id
    assert telemetry.spans() == {}


@pytest.mark.parametrize(
    ("kind", "name"), [("openai", "openai"), ("azure", "azure.ai.openai"), ("ollama", "ollama")]
)
def test_vendors_have_the_names_of_the_conventions(kind, name):
    assert names.provider_name(kind) == name


class Collector(BaseHTTPRequestHandler):
    """An OpenTelemetry collector's endpoint for OTLP over HTTP."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def collector():
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.received = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_collector_receives_the_spans_over_http(model, north, telemetry, collector):
    endpoint = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    telemetry.provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    make_agent(model)
    get_agent("helper").run(SECRET)
    assert {path for path, _ in collector.received} == {"/v1/traces"}
    scopes = [
        scope
        for _, request in collector.received
        for resource in request.resource_spans
        for scope in resource.scope_spans
    ]
    assert {scope.scope.name for scope in scopes} == {"zango_ai"}
    spans = {span.name: span for scope in scopes for span in scope.spans}
    assert set(spans) == {CHAT, AGENT}
    assert spans[CHAT].parent_span_id == spans[AGENT].span_id
    attributes = {each.key: each.value for each in spans[AGENT].attributes}
    assert attributes["zango_ai.tenant"].string_value == "north"
    assert attributes["gen_ai.usage.input_tokens"].int_value > 0
    assert not any(SECRET.encode() in request.SerializeToString() for _, request in collector.received)
