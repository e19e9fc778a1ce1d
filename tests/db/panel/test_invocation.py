"""The page of one invocation: the conversation, figures, permissions, legal hold and code that repeats the run."""

import json
import shlex
from types import SimpleNamespace

import pytest
from django.contrib.admin.models import LogEntry

from tests import panel_data
from tests.build import make_agent, make_agent_with, make_prompt, make_provider
from tests.db.panel.test_invocations import client_of, find_blood_count, selects
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from tests.schemas import add_domains
from zango_ai import LLMFile, LLMMessage, get_agent, get_provider
from zango_ai.admin import invocation_curl, invocation_python
from zango_ai.exceptions import LLMAPIError
from zango_ai.ledger import removal
from zango_ai.models import Invocation, MemorySession, Provider, ToolCall
from zango_ai.testing import Call, Reply
from zango_ai.types import ToolRequest

LIST = "/admin/zango_ai/invocation/"
TABS = ("prompt", "cost", "time", "data", "code", "talk")


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, SCHEMES, strict=True)])
def test_every_part_of_a_runs_page_is_sound(browser, site, width, scheme):
    panel_data.fill(runs=40)
    page = open_page(browser, site, width=width, scheme=scheme)
    page.goto(f"{LIST}?agent_name=care-assistant&status__exact=success")
    page.click("#result_list tbody th a >> nth=0")
    for tab in TABS:
        page.click(f"#za-tab-{tab}")
        assert page.locator("[role=tabpanel]:visible").count() == 1
        assert_sound(page)
    assert '"allergies": "penicillin"' in page.inner_text(".za-call .za-sides > div:nth-child(2)")
    page.click("text=Legal hold")
    assert "On legal hold" in page.inner_text(".za-alert")
    assert_sound(page)
    page.goto(f"{LIST}?agent_name=patient-summary&status__exact=success")
    page.click("#result_list tbody th a >> nth=0")
    if width == WIDTHS[0]:
        page.wait_for_load_state()
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "a plain run fits the screen"


@pytest.fixture
def tenant(north):
    add_domains(north, "north.localhost")


@pytest.fixture
def talk(tenant, model):
    """Two runs of a conversation. The first has called a tool."""
    prompt = make_prompt("You help {{ clinic }}.", "system", name="helper-system")
    make_agent_with(model, find_blood_count, short_term_memory=True, system_prompt=prompt)
    model.script(
        Reply("Let me look.", calls=[Call("find_blood_count", {"name": "Berger"})]),
        "<b>Fine</b>",
        "You are welcome.",
    )
    for text in ("How is it?", "Thanks."):
        get_agent("helper").run(
            text, session_id="s1", user_ref="visitor-1", system_variables={"clinic": "North Clinic"}
        )
    return list(Invocation.objects.order_by("pk"))


def page_of(client, run):
    answer = client.get(f"{LIST}{run.pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def panel_of(html, name):
    return html.split(f'id="za-{name}"')[1].split('role="tabpanel"')[0]


def test_a_conversation_shows_each_text_once_and_folds_what_came_from_memory(talk):
    first, second = talk
    shown = panel_of(page_of(client_of(), first), "talk")
    order = ["You help North Clinic.", "How is it?", "Let me look.", "find_blood_count", "secret result", "Fine"]
    places = [shown.index(text) for text in order]
    assert places == sorted(places)
    assert [shown.count(text) for text in order[:3]] == [1, 1, 1]
    assert shown.count("secret result") == 1
    assert "&lt;b&gt;Fine&lt;/b&gt;" in shown
    shown = panel_of(page_of(client_of(), second), "talk")
    folded, own = shown.split("</details>")[0], shown.split("</details>")[1]
    assert "4 earlier messages from memory" in folded
    assert "How is it?" in folded
    assert "How is it?" not in own
    assert "Thanks." in own


def test_runs_of_a_session_lead_to_each_other(talk):
    first, second = talk
    client = client_of()
    html = page_of(client, first)
    assert f'rel="next" href="{LIST}{second.pk}/change/"' in html
    assert 'rel="prev"' not in html
    html = page_of(client, second)
    assert f'rel="prev" href="{LIST}{first.pk}/change/"' in html
    assert f"/admin/zango_ai/memorysession/{MemorySession.objects.get().pk}/change/" in html
    prompt = talk[0].system_prompt_name
    assert f">{prompt} v1</a>" in panel_of(html, "prompt")


def test_what_a_later_round_sent_in_addition_is_shown(tenant, model):
    make_agent(
        model, output_schema="json", output_json_schema={"type": "object", "required": ["a"]}, output_retries=1
    )
    model.script('{"b": 1}', '{"a": 1}')
    get_agent("helper").run("Give me an a.")
    shown = panel_of(page_of(client_of(), Invocation.objects.get()), "talk")
    assert shown.count("Give me an a.") == 1
    assert "sent with round 2" in shown
    assert shown.count("&quot;b&quot;: 1") == 1
    assert "<span>JSON</span>" in shown


@pytest.mark.parametrize(("answer", "is_document"), [('[{"dose": 2}]', True), ("[scripted] Two a day.", False)])
def test_only_an_answer_that_is_json_is_shown_as_json(tenant, model, answer, is_document):
    make_agent(model)
    model.script(answer)
    run = get_agent("helper").run("hi")
    shown = page_of(client_of(), Invocation.objects.get(pk=run.invocation_id))
    assert ("<span>JSON</span>" in panel_of(shown, "talk")) is is_document


def test_without_the_permission_to_read_texts_there_are_only_numbers(talk):
    html = page_of(client_of("view_invocation"), talk[0])
    for text in ("How is it?", "Let me look.", "secret result", "Berger", "Fine", "North Clinic"):
        assert text not in html
    assert "but not the texts" in html
    assert "find_blood_count" in html
    assert "Copy as" not in html


def test_a_tool_name_that_the_model_invented_needs_the_permission_to_read_texts(tenant, model):
    agent = make_agent_with(model, find_blood_count)
    model.script(Reply(calls=[Call("find_blood_count", {"name": "x"}), Call("secret_of_berger")]), "Done.")
    get_agent(agent.name).run("hi")
    run = Invocation.objects.get()
    pages = (f"{LIST}{run.pk}/change/", f"{LIST}{run.pk}/rounds/")
    for page in pages:
        hidden = client_of("view_invocation").get(page).content.decode()
        assert "find_blood_count" in hidden
        assert "secret_of_berger" not in hidden
        assert "secret_of_berger" in client_of().get(page).content.decode()


@pytest.mark.parametrize("key", ["0", "9" * 18, "9" * 30, "\u0663", "\u00b2", "1%00", "x"])
def test_an_address_of_no_run_leads_back_to_the_panel(talk, key):
    assert client_of().get(f"{LIST}{key}/change/").status_code == 302


def test_removed_texts_are_said_so(talk):
    removal.remove_texts("north", [talk[0].pk])
    html = page_of(client_of(), talk[0])
    assert "The texts of this run were removed on" in html
    assert "Text removed" in html
    assert "Copy as" not in html


def test_a_page_takes_as_many_queries_for_many_rounds_as_for_one(talk, model):
    make_provider(model, name="other")
    counts = [len(selects(client_of(), f"{LIST}{run.pk}/change/")) for run in talk]
    model.script(*[Reply(calls=[Call("find_blood_count", {"name": "x"})])] * 3, "done")
    again = get_agent("helper").run("Again.", session_id="s1", user_ref="visitor-1")
    counts.append(len(selects(client_of(), f"{LIST}{again.invocation_id}/change/")))
    assert counts == [12, 12, 12]


def test_a_failure_says_what_happened_and_where_to_mend_it(tenant, model):
    make_agent(model)
    model.script(Reply("<b>the vendor's words</b>", status=500))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    run = Invocation.objects.get()
    html = page_of(client_of(), run)
    assert "The provider answered with an error." in html
    assert 'href="/admin/zango_ai/provider/"' in html.split('role="alert"')[1].split("</div></div>")[0] + html
    assert "the vendor&#x27;s words" in html
    html = page_of(client_of("view_invocation"), run)
    assert "The provider answered with an error." in html
    assert "Open the providers" not in html
    assert "vendor&#x27;s words" not in html


def test_a_waiting_run_leads_to_the_approvals_if_the_site_has_them(talk, monkeypatch):
    from django.contrib import admin

    from zango_ai.admin.invocation_detail import InvocationDetail

    run = talk[0]
    Invocation.objects.filter(pk=run.pk).update(status="awaiting_approval")
    html = page_of(client_of(), run)
    assert "The run waits until a person approves or denies its tool calls." in html
    link = "/admin/zango_ai/toolcall/"
    assert (f'href="{link}"' in html) == admin.site.is_registered(ToolCall)
    real = InvocationDetail.panel_url
    monkeypatch.setattr(
        InvocationDetail,
        "panel_url",
        lambda page, name, *args: link if name == "toolcall_changelist" else real(page, name, *args),
    )
    monkeypatch.setattr(InvocationDetail, "_may_view", lambda page, request, model: model == "toolcall")
    assert f'href="{link}">Open the approvals</a>' in page_of(client_of(), run)


def test_a_run_on_hold_is_logged_and_needs_a_permission(talk):
    run, address = talk[0], f"{LIST}{talk[0].pk}/hold/"
    reader = client_of("view_invocation")
    assert address not in page_of(reader, run)
    assert reader.post(address, {"is_on_hold": "1"}).status_code == 403
    keeper = client_of("view_invocation", "change_invocation")
    assert address in page_of(keeper, run)
    assert keeper.get(address).status_code == 405
    for value in ("1", "1", "0"):
        assert keeper.post(address, {"is_on_hold": value}).status_code == 302
    run.refresh_from_db()
    assert not run.is_on_hold
    messages = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert messages == ["Put on legal hold.", "Legal hold ended."]


def test_a_session_on_hold_is_logged_and_needs_a_permission(talk):
    session = MemorySession.objects.get()
    address = f"/admin/zango_ai/memorysession/{session.pk}/hold/"
    assert client_of("view_memorysession").post(address, {"is_on_hold": "1"}).status_code == 403
    keeper = client_of("view_memorysession", "change_memorysession")
    assert keeper.post(address, {"is_on_hold": "1"}).status_code == 302
    assert address in keeper.get(f"/admin/zango_ai/memorysession/{session.pk}/change/").content.decode()
    assert LogEntry.objects.get().get_change_message() == "Put on legal hold."
    assert "The conversation is on legal hold" in page_of(client_of(), talk[0])


def code_of(run):
    return invocation_python.call(run, run.rounds.order_by("number").first(), list(run.files.all()))


def test_the_copied_python_repeats_the_run(tenant, model):
    prompt = make_prompt("Name: {{ name }}", name="ask")
    make_agent(model, user_prompt=prompt)
    get_agent("helper").run(
        variables={"name": 'O\'Brien "x"\n'},
        user_ref="visitor",
        triggered_by="system",
        temperature=0.2,
        max_tokens=77,
    )
    run = Invocation.objects.get()
    code = code_of(run)
    assert "# The run used version 1 of the user prompt 'ask'. The code uses the active version." in code
    exec(code, {})
    again = Invocation.objects.order_by("pk").last()
    for name in ("rendered_user_prompt", "variables", "user_ref", "triggered_by", "agent_name"):
        assert getattr(again, name) == getattr(run, name)
    assert again.pk != run.pk
    first, second = (each.body for each in model.requests)
    assert first == second


def test_the_copied_python_repeats_messages_and_direct_calls(tenant, model):
    make_agent(model, system_prompt=make_prompt("Be brief.", "system"))
    asked = LLMMessage("assistant", "", tool_calls=[ToolRequest("c1", "look_up", '{"a": 1}')])
    get_agent("helper").run(
        messages=[
            LLMMessage("user", "a"),
            asked,
            LLMMessage("tool", "b", tool_call_id="c1"),
            LLMMessage("user", "c"),
        ]
    )
    get_provider("main").complete([LLMMessage("system", "s"), LLMMessage("user", "hi")], user_ref="u", max_tokens=9)
    for run in Invocation.objects.order_by("pk"):
        exec(code_of(run), {})
        again = Invocation.objects.order_by("pk").last().rounds.get()
        assert again.request_messages == run.rounds.get().request_messages
        assert again.request_params == run.rounds.get().request_params


def test_the_copied_python_says_what_it_leaves_out(talk):
    code = code_of(talk[1])
    assert "# The conversation continues where it is now, and remembers this turn." in code
    assert "and tools are executed again." in code
    assert "session_id='s1'" in code
    compile(code, "copied", "exec")


def test_the_copied_curl_sends_the_same_request_without_the_key(tenant, model):
    make_agent(model)
    get_agent("helper").run("It's $HOME; `ls`")
    run = Invocation.objects.get()
    code = panel_of(page_of(client_of(), run), "curl")
    assert "$API_KEY" in code
    secret = Provider.objects.get().credentials["api_key"]
    assert secret not in code
    _curl, address, *options = shlex.split(invocation_curl.curl(Provider.objects.get(), run.rounds.get()))
    assert address == f"{model.openai_base}/chat/completions"
    assert "Authorization: Bearer $API_KEY" in options
    assert json.loads(options[-1]) == model.requests[-1].body


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("anthropic", {}, ("https://api.anthropic.com/v1/messages", "x-api-key: $API_KEY", '"system": "s"')),
        (
            "azure",
            {"api_base": "https://x.example", "api_version": "1"},
            ("/deployments/m/chat", "api-key: $API_KEY", ""),
        ),
        ("gemini", {}, ("/models/m:generateContent", "x-goog-api-key: $API_KEY", "systemInstruction")),
        (
            "bedrock",
            {"aws_region_name": "eu-west-1"},
            ("/model/m/converse", "eu-west-1:bedrock", '"text": "s"'),
        ),
    ],
)
def test_the_copied_curl_speaks_the_protocol_of_each_kind(kind, settings, expected):
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    tools = [{"name": "t", "description": "d", "parameters": {"type": "object"}}]
    round_ = SimpleNamespace(
        model="m", request_messages=messages, request_tools=tools, request_params={"max_tokens": 5, "stream": True}
    )
    provider = SimpleNamespace(kind=kind, credentials={**settings, "api_key": "sk-secret"})
    code = invocation_curl.curl(provider, round_)
    for text in expected:
        assert text in code
    assert "sk-secret" not in code
    assert "stream" not in code
    round_.request_tools = [{"role": "removed", "content": ""}]
    assert '"t"' not in invocation_curl.curl(provider, round_)


def test_files_of_a_run_are_named_beside_the_message(tenant, model):
    make_agent(model)
    get_agent("helper").run("Read it.", files=[LLMFile.from_bytes(b"a;b", "text/csv", "report.csv")])
    html = page_of(client_of(), Invocation.objects.get())
    assert "report.csv" in panel_of(html, "talk")
    assert "LLMFile.from_path(&#x27;report.csv&#x27;)" in panel_of(html, "python")


def test_pauses_for_approval_do_not_hide_the_work():
    from datetime import UTC, datetime, timedelta

    from zango_ai.admin.invocation_timeline import timeline

    start = datetime(2026, 3, 2, tzinfo=UTC)

    def step(after_s, **columns):
        moment = start + timedelta(seconds=after_s)
        return SimpleNamespace(created_at=moment, get_status_display=lambda: "", status="success", **columns)

    call = step(1, tool_name="note", decided_at=start + timedelta(hours=5), duration_ms=100)
    rounds = [
        step(
            0, number=1, latency_ms=1000, time_to_first_token_ms=400, tool_calls=SimpleNamespace(all=lambda: [call])
        ),
        step(18_001, number=2, latency_ms=1000, time_to_first_token_ms=None, tool_calls=SimpleNamespace(all=list)),
    ]
    drawn = timeline(rounds)
    assert [bar.kind for bar in drawn.bars] == ["round", "wait", "tool", "round"]
    assert drawn.is_shortened
    assert float(drawn.bars[0].width) > 25
    assert drawn.total_ms == 18_002_000
