"""The agents' list and form as staff use them over HTTP."""

import pytest
from django.contrib.admin.models import LogEntry

from tests import admin_pages
from tests.admin_pages import count_queries
from tests.build import make_agent, make_agent_with, make_prompt, make_provider
from zango_ai import ToolSafety, get_agent, tool
from zango_ai.admin.agent_code import AgentCall, samples
from zango_ai.models import AgentConfig, Fallback, Invocation, Tool
from zango_ai.providers import model_catalog
from zango_ai.testing import Call, Reply


@tool(description="Look a patient up.", section="patients")
def find_letter(name: str) -> str:
    return name


@tool(description="Write to a patient.", section="post", safety=ToolSafety.EXTERNAL, requires_approval=True)
def write_to(name: str) -> str:
    return name


@pytest.fixture
def staff(client_of):
    return client_of(*(f"{verb}_agentconfig" for verb in ("view", "add", "change", "delete")), "view_invocation")


def url(name, *args):
    return admin_pages.url(f"agentconfig_{name}", *args)


def html(response):
    assert response.status_code == 200, response.content
    return response.content.decode()


def test_a_description_is_a_box_of_three_rows(model, staff):
    agent = make_agent(model)
    assert 'name="description" cols="40" rows="3"' in html(staff.get(url("change", agent.pk)))


# The list


def test_the_list_shows_each_agents_figures_of_a_month_and_a_day(model, staff):
    make_agent(model, description="Helps out")
    model.script("fine", Reply("down", status=400))
    get_agent("helper").run("hi")
    with pytest.raises(Exception, match="400"):
        get_agent("helper").run("hi")
    shown = html(staff.get(url("changelist")))
    for text in ("Helps out", "gpt-4o-mini", "main", "24 h: 2", "50%"):
        assert text in shown


def test_the_list_takes_the_same_number_of_queries_for_any_number_of_agents(model, staff):
    provider = make_provider(model)
    counts = []
    for number in (1, 9):
        for index in range(number):
            make_agent(
                model,
                f"a{number}-{index}",
                provider=provider,
                system_prompt=make_prompt("Hi.", "system", f"p{number}-{index}"),
            )
        staff.get(url("changelist"))
        counts.append(count_queries(staff, url("changelist")))
    assert counts[0] == counts[1] <= 13


def test_the_switch_of_the_list_stops_an_agent_and_is_in_its_history(model, staff):
    agent = make_agent(model)
    assert 'aria-checked="true"' in html(staff.get(url("changelist")))
    answer = staff.post(url("switch", agent.pk) + "?q=help", {"is_enabled": "0"})
    assert answer.headers["Location"] == url("changelist") + "?q=help"
    agent.refresh_from_db()
    assert not agent.is_enabled
    assert LogEntry.objects.get().get_change_message() == "Switched off."
    staff.post(url("switch", agent.pk), {"is_enabled": "1"})
    assert AgentConfig.objects.get().is_enabled


def test_only_those_who_may_change_agents_switch_and_copy_them(model, client_of):
    agent = make_agent(model)
    viewer = client_of("view_agentconfig")
    assert viewer.get(url("switch", agent.pk)).status_code == 405
    assert viewer.post(url("switch", agent.pk), {"is_enabled": "0"}).status_code == 403
    assert viewer.post(url("duplicate", agent.pk)).status_code == 403
    assert client_of().post(url("switch", agent.pk), {"is_enabled": "0"}).status_code == 403
    assert AgentConfig.objects.get().is_enabled
    assert 'role="switch"' not in html(viewer.get(url("changelist")))
    assert "Duplicate" not in html(viewer.get(url("change", agent.pk)))


# Copies and deletion


def test_a_copy_has_the_tools_and_fallbacks_and_is_off(model, staff):
    agent = make_agent_with(model, find_letter, temperature=0.1, is_public_api=True)
    Fallback.objects.create(agent=agent, provider=agent.provider, model="gpt-4o", position=3)
    for name in ("helper-copy", "helper-copy-2"):
        answer = staff.post(url("duplicate", agent.pk), follow=True)
        assert f'value="{name}"' in html(answer)
    copy = AgentConfig.objects.get(name="helper-copy")
    assert (copy.is_enabled, copy.is_public_api, copy.temperature) == (False, False, 0.1)
    assert [tool.name for tool in copy.tools.all()] == ["find_letter"]
    assert [(row.model, row.position) for row in copy.fallbacks.all()] == [("gpt-4o", 3)]
    assert "Copied from helper." in [entry.get_change_message() for entry in LogEntry.objects.all()]
    assert make_agent(model, "n" * 100, provider=agent.provider)
    staff.post(url("duplicate", AgentConfig.objects.get(name="n" * 100).pk))
    assert AgentConfig.objects.filter(name="n" * 95 + "-copy").exists()


def test_an_agent_whose_run_waits_for_approval_is_not_deleted_and_the_page_says_why(model, client_of):
    staff = client_of("view_agentconfig", "delete_agentconfig", "view_invocation")
    agent = make_agent_with(model, write_to)
    model.script(Reply(calls=[Call("write_to", {"name": "Ada"})]))
    get_agent("helper").run("hi")
    shown = html(staff.get(url("delete", agent.pk)))
    assert "“helper” is still used, so it cannot be deleted." in shown
    assert "Agent helper: 1 awaiting approval" in shown
    assert "status__exact=awaiting_approval" in shown
    staff.post(url("delete", agent.pk), {"post": "yes"})
    assert AgentConfig.objects.exists()
    Invocation.objects.update(status="success")
    staff.post(url("delete", agent.pk), {"post": "yes"})
    assert not AgentConfig.objects.exists()


# The form


def test_the_form_shows_prompts_with_placeholders_tools_by_section_and_the_code(model, staff):
    agent = make_agent_with(
        model,
        find_letter,
        system_prompt=make_prompt("You help {{ clinic }}.", "system"),
        user_prompt=make_prompt("<b>Ask</b> {{question}}"),
        short_term_memory=True,
    )
    shown = html(staff.get(url("change", agent.pk)))
    for text in (
        "You help <mark>{{ clinic }}</mark>.",
        "&lt;b&gt;Ask&lt;/b&gt; <mark>{{question}}</mark>",
        "<legend>patients</legend>",
        "External effects",
        "Needs approval",
        "get_agent(&quot;helper&quot;)",
        "&quot;question&quot;: &quot;...&quot;",
        "session_id=session_id",
    ):
        assert text in shown, text


def test_the_form_takes_the_same_number_of_queries_with_more_tools_and_fallbacks(model, staff):
    agent = make_agent_with(model, find_letter, system_prompt=make_prompt("Hi.", "system"))
    counts = []
    for _ in range(2):
        staff.get(url("change", agent.pk))
        counts.append(count_queries(staff, url("change", agent.pk)))
        agent.tools.set(Tool.objects.all())
    assert counts[0] == counts[1] <= 19


def test_the_page_follows_the_form_while_it_is_filled_in(model, staff):
    agent = make_agent(model)
    prompt = make_prompt("Greet {{ name }}.")
    typed = {"name": "greeter", "provider": agent.provider_id, "user_prompt": prompt.pk, "output_schema": "json"}
    parts = staff.post(url("summary"), {**typed, "output_json_schema": '{"type": "object"'}).json()
    assert "get_agent(&quot;greeter&quot;)" in parts["summary"]
    assert "<mark>{{ name }}</mark>" in parts["user_prompt_text"]
    assert parts["schema"] == {"tone": "bad", "text": "Enter a valid JSON."}
    for schema, tone in (
        ('{"type": "objekt"}', "bad"),
        ('{"type": "object", "patternProperties": {}}', "warn"),
        ('{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}', "ok"),
        ("", ""),
        ("[" * 200, "bad"),
    ):
        answer = staff.post(url("summary"), {**typed, "output_json_schema": schema}).json()["schema"]
        assert answer["tone"] == tone, answer
    assert staff.post(url("summary") + f"?agent={agent.pk}", {}).status_code == 200
    assert staff.post(url("summary") + "?agent=x", {"provider": "99999"}).status_code == 200
    assert list(AgentConfig.objects.values_list("name", flat=True)) == ["helper"]


def test_who_may_only_see_agents_reads_no_other_prompts(client_of):
    prompt = make_prompt("Keep this to yourself.")
    viewer = client_of("view_agentconfig")
    assert "Keep this" not in viewer.post(url("summary"), {"user_prompt": prompt.pk}).content.decode()
    reader = client_of("view_agentconfig", "view_prompt")
    assert "Keep this" in reader.post(url("summary"), {"user_prompt": prompt.pk}).content.decode()


def test_the_models_of_a_provider_come_with_their_prices_and_abilities(model, staff):
    provider = make_provider(model)
    provider.models.create(model_id="gpt-4o-mini")
    provider.models.create(model_id="own", input_cost_per_mtok=1, output_cost_per_mtok=2, accepts_tools=False)
    provider.models.create(model_id="off", is_enabled=False)
    answer = staff.get(url("models"), {"provider": provider.pk}).json()
    assert (answer["provider"], answer["is_closed"], answer["default_model"]) == ("main", True, "gpt-4o-mini")
    listed, own = answer["models"]
    assert listed["price"] == "$0.15 in / $0.60 out per million tokens"
    assert "tools" in listed["abilities"]
    assert (own["id"], own["price"], own["abilities"]) == ("own", "$1.00 in / $2.00 out per million tokens", [])
    assert staff.get(url("models"), {"provider": "x"}).status_code == 404
    assert "sk-secret" not in str(answer)


@pytest.mark.parametrize(
    ("kind", "some", "is_open"),
    [("openai", "gpt-4o-mini", True), ("gemini", "gemini-2.5-flash", True), ("azure", "my-deployment", False)],
)
def test_a_provider_that_allows_any_model_has_those_of_the_price_list(model, north, kind, some, is_open):
    names = [each.id for each in model_catalog.models_of(make_provider(model, kind=kind).spec())]
    assert some in names
    assert (len(names) > 10) is is_open
    assert not [name for name in names if name.startswith(("ft:", f"{kind}/"))]


def test_a_saved_form_keeps_what_was_chosen_and_rejects_a_bad_schema_at_its_field(model, staff):
    agent = make_agent(model)
    values = admin_pages.fields(staff.get(url("change", agent.pk)))
    tools = [row.pk for row in Tool.objects.filter(name="find_letter")]
    broken = staff.post(url("change", agent.pk), {**values, "output_json_schema": "{"})
    assert "Enter a valid JSON." in html(broken)
    saved = staff.post(url("change", agent.pk), {**values, "tools": tools, "model": "gpt-4o"})
    assert saved.status_code == 302, saved.context["errors"]
    agent.refresh_from_db()
    assert (agent.model, agent.tools.count()) == ("gpt-4o", len(tools))


@pytest.mark.parametrize("has_more", [False, True])
def test_the_code_to_copy_is_valid_python(has_more):
    more = {
        "has_user_prompt": True,
        "variables": ["name", "klass"],
        "system_variables": ["clinic"],
        "has_memory": True,
        "is_json": True,
        "needs_approvals": True,
    }
    made = samples(AgentCall(name="helper", **(more if has_more else {})))
    assert [sample.key for sample in made] == ["run", "stream", "enqueue", "arun"]
    for sample in made:
        body = "\n".join(f"    {line}" for line in sample.code.splitlines())
        compile(f"async def call():\n{body}", "sample", "exec")
