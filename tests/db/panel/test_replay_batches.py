"""Batches of replays in the admin, over HTTP and in Chromium. Here, the tests do the work of the workers."""

import re
import uuid

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests import panel_data
from tests.admin_pages import count_queries, url
from tests.build import QUARTER, make_agent, make_agent_with, make_priced_agent
from tests.db.log.test_maintenance import let_pass
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from tests.schemas import add_domains, all_tenants
from tests.task_queues import tasks_settings
from zango_ai import get_agent, tool
from zango_ai.ledger import removal
from zango_ai.models import AgentConfig, Invocation, Provider
from zango_ai.runs import queue
from zango_ai.runs.resumption import execute_queued
from zango_ai.testing import Call, ModelServer, Reply

CODENAMES = ("view_invocation", "run_agent", "view_payload", "view_agentconfig")


@tool(description="Find a patient.")
def find_for_replay_batch(name: str) -> str:
    return f"{name}: born 1957"


@pytest.fixture
def staff(client_of):
    return client_of(*CODENAMES)


@pytest.fixture
def no_worker(settings, model):
    """A queue that nobody reads."""
    settings.TASKS = tasks_settings()
    settings.ZANGO_AI = {**settings.ZANGO_AI, "QUEUE": "tasks:no_worker"}


@pytest.fixture
def no_queue(monkeypatch):
    monkeypatch.setattr(queue, "is_available", lambda: False)


def form_of(config):
    return url("invocation_replays") + f"?agent={config.pk}"


def queued():
    return Invocation.objects.filter(status="queued").order_by("pk")


def work(rows=None):
    for run_id in list((queued() if rows is None else rows).values_list("run_id", flat=True)):
        execute_queued(str(run_id), celery_task_id="a task")


def test_a_batch_is_queued_and_its_page_shows_each_answer_as_it_arrives(model, staff, no_worker):
    config = make_priced_agent(model)
    for number in range(3):
        model.script(QUARTER)
        get_agent("helper").run(f"Hello {number}")
    assert form_of(config) in staff.get(url("agentconfig_change", config.pk)).content.decode()
    html = staff.get(form_of(config)).content.decode()
    assert "The last 3 runs cost $0.75 together, $0.25 each on average" in html
    assert "200 at most" in html
    assert "Background workers execute the replays" in html
    page = staff.post(form_of(config), {"count": "3", "model": "gpt-4o-mini"}).url
    assert len(model.requests) == 3  # the request itself sends nothing
    html = staff.get(page).content.decode()
    assert "0 of 3 replays have ended" in html
    assert "data-za-working" in html
    assert "Workers execute the replays." in html
    assert "Cancel the rest" in html
    model.script(QUARTER, "another <answer>")
    work(queued()[:2])
    html = staff.get(page).content.decode()
    assert "2 of 3 replays have ended" in html
    assert "of 2 answers" in html
    assert "$0.50" in html  # of the runs whose replays have ended
    different = Invocation.objects.get(replay_of__isnull=False, response_content="another <answer>")
    answers = url("invocation_answers", different.pk)
    assert f'data-za-unfold="{answers}"' in html
    assert "another &lt;answer&gt;" not in html
    assert "another &lt;answer&gt;" in re.sub("</?(ins|del)>", "", staff.get(answers).content.decode())
    model.script(Reply(status=400))
    with pytest.raises(Exception, match="400"):
        work()
    html = staff.get(page).content.decode()
    assert "3 of 3 replays have ended" in html
    assert "data-za-working" not in html
    assert "Replay again" in html
    assert "LLMAPIError" in html
    originals = re.findall(url("invocation_change", 0).replace("0", r"(\d+)"), html.partition("za-batch-rows")[2])
    assert originals == sorted(originals, key=int, reverse=True)  # as they were in the list of invocations
    shown = staff.get(page + "?show=different").content.decode()
    assert re.findall(r'id="za-replay-(\d+)"', shown) == [str(different.pk)]
    shown = staff.get(page + "?show=unanswered").content.decode()
    assert len(re.findall(r'id="za-replay-(\d+)"', shown)) == 1
    assert page in staff.get(form_of(config)).content.decode()  # among the earlier batches
    assert page in staff.get(url("invocation_comparison", different.pk)).content.decode()


def test_diverged_replays_are_counted(model, staff, no_worker):
    config = make_agent_with(model, find_for_replay_batch)
    ada, bob = (Reply(calls=[Call("find_for_replay_batch", {"name": name})]) for name in ("Ada", "Bob"))
    model.script(ada, "1957", bob, "unknown")
    get_agent("helper").run("When?")
    page = staff.post(form_of(config), {"count": "1", "model": ""}).url
    work()
    html = staff.get(page + "?show=diverged").content.decode()
    assert html.count(">Diverged<") == 2  # the figure and the row
    assert len(re.findall(r'id="za-replay-', html)) == 1


def test_the_page_of_a_batch_reads_no_results_of_tools(model, staff, no_worker):
    config = make_agent_with(model, find_for_replay_batch)
    model.script(Reply(calls=[Call("find_for_replay_batch", {"name": "Ada"})]), "Found.")
    get_agent("helper").run("Who?")
    page = staff.post(form_of(config), {"count": "1", "model": ""}).url
    with CaptureQueriesContext(connection) as queries:
        staff.get(page)
    assert any('"zango_ai_toolcall"."arguments"' in query["sql"] for query in queries)
    assert not any('"zango_ai_toolcall"."result"' in query["sql"] for query in queries)


def test_a_batch_that_no_worker_takes_says_what_to_do(model, staff, no_worker):
    config = make_agent(model)
    get_agent("helper").run("Hello")
    page = staff.post(form_of(config), {"count": "1", "model": ""}).url
    assert "No worker takes the replays." not in staff.get(page).content.decode()
    let_pass(60)
    html = staff.get(page).content.decode()
    assert "No worker takes the replays." in html
    assert "Start a worker of the Tasks backend &#x27;no_worker&#x27;" in html
    Invocation.objects.filter(replay_of__isnull=False).update(status="running")
    assert "No worker takes the replays." not in staff.get(page).content.decode()


def test_the_rest_of_a_batch_is_cancelled(model, staff, no_worker):
    config = make_agent(model)
    for number in range(3):
        get_agent("helper").run(f"Hello {number}")
    page = staff.post(form_of(config), {"count": "3", "model": ""}).url
    work(queued()[:1])
    response = staff.post(page + "cancel/", follow=True)
    assert response.redirect_chain[-1][0] == page
    html = response.content.decode()
    assert "2 replays were cancelled." in html
    assert "3 of 3 replays have ended" in html
    assert sorted(Invocation.objects.filter(replay_of__isnull=False).values_list("status", flat=True)) == [
        *("cancelled", "cancelled", "success")
    ]
    assert staff.get(page + "cancel/").status_code == 302  # only a POST cancels


def test_without_a_queue_the_request_replays_ten_runs_at_most(model, staff, no_queue):
    config = make_priced_agent(model)
    model.script(QUARTER, QUARTER, QUARTER, "else", QUARTER)
    for number in range(2):
        get_agent("helper").run(f"Hello {number}")
    html = staff.get(form_of(config)).content.decode()
    assert "No queue for background runs is configured." in html
    assert "10 at most" in html
    html = staff.post(form_of(config), {"count": "11", "model": ""}).content.decode()
    assert "less than or equal to 10" in html
    response = staff.post(form_of(config), {"count": "2", "model": ""})
    replays = list(Invocation.objects.filter(replay_of__isnull=False).values_list("pk", flat=True))
    assert len(replays) == 2
    html = staff.get(response.url).content.decode()
    assert "2 of 2 replays have ended" in html
    assert all(url("invocation_comparison", pk) in html for pk in replays)
    Provider.objects.update(monthly_budget_usd="0.80")
    html = staff.post(form_of(config), {"count": "2", "model": ""}, follow=True).content.decode()
    assert "1 run was not replayed." in html
    assert Invocation.objects.filter(replay_of__isnull=False).count() == 3


def test_a_queue_that_is_away_is_told(model, staff, settings, no_worker, django_capture_on_commit_callbacks):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "QUEUE": "tasks:away"}
    config = make_agent(model)
    get_agent("helper").run("Hello")
    with django_capture_on_commit_callbacks(execute=True):
        page = staff.post(form_of(config), {"count": "1", "model": ""}).url
    html = staff.get(page).content.decode()
    assert "QueueUnavailable" in html
    assert "did not accept run" in html


@pytest.mark.usefixtures("live_north")
def test_a_queue_that_is_away_ends_the_batch_also_where_requests_are_transactions(model, settings, no_worker):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "QUEUE": "tasks:away"}
    assert connection.settings_dict["ATOMIC_REQUESTS"]
    config = make_agent(model)
    for _ in range(3):
        get_agent("helper").run("Hello")
    add_domains(all_tenants()["north"], "north.localhost")
    client = Client(headers={"host": "north.localhost"})
    client.force_login(User.objects.create_superuser("root"))
    html = client.post(form_of(config), {"count": "3", "model": ""}, follow=True).content.decode()
    assert "did not accept run" in html
    assert "2 runs were not replayed." in html
    assert Invocation.objects.filter(replay_of__isnull=False).count() == 1


def test_a_form_that_is_sent_twice_starts_one_batch(model, staff, no_worker):
    config = make_agent(model)
    get_agent("helper").run("Hello")
    (batch,) = re.findall(r'name="batch" value="([^"]+)"', staff.get(form_of(config)).content.decode())
    pages = {staff.post(form_of(config), {"count": "1", "model": "", "batch": batch}).url for _ in range(2)}
    assert pages == {url("invocation_replay_batch", batch)}
    assert queued().count() == 1


def test_a_batch_of_deleted_runs_can_be_cancelled(model, staff, no_worker):
    config = make_agent(model)
    pk = get_agent("helper").run("Hello").invocation_id
    page = staff.post(form_of(config), {"count": "1", "model": ""}).url
    removal.delete_runs("north", [pk])
    assert "Cancel the rest" in staff.get(page).content.decode()
    staff.post(f"{page}cancel/")
    assert not queued().exists()
    assert "Cancel the rest" not in staff.get(page).content.decode()


def test_an_agent_that_is_switched_off_has_no_form(model, staff, no_worker):
    config = make_agent(model)
    get_agent("helper").run("Hello")
    AgentConfig.objects.update(is_enabled=False)
    assert "The agent is switched off." in staff.get(form_of(config)).content.decode()
    assert staff.post(form_of(config), {"count": "1", "model": ""}).status_code == 200
    assert not queued().exists()


def test_replays_of_deleted_runs_are_left_out_and_counted(model, staff, no_worker):
    config = make_agent(model)
    pk = get_agent("helper").run("Hello").invocation_id
    get_agent("helper").run("Hello again")
    page = staff.post(form_of(config), {"count": "2", "model": ""}).url
    work()
    removal.delete_runs("north", [pk])
    html = staff.get(page).content.decode()
    assert "1 replay is left out" in html
    assert "1 of 1 replay has ended" in html
    removed = Invocation.objects.filter(replay_of__isnull=False).latest("replay_of_id")
    removal.remove_texts("north", [removed.pk])
    html = staff.get(page).content.decode()
    assert "Text removed" in html
    assert ">Same<" not in html


def test_batches_need_permissions_and_a_fixed_number_of_queries(model, client_of, staff, no_worker):
    config = make_agent(model)
    get_agent("helper").run("Hello")
    page = staff.post(form_of(config), {"count": "1", "model": ""}).url
    pages = (form_of(config), page)
    counted = [count_queries(staff, each) for each in pages]
    for number in range(4):
        get_agent("helper").run(f"Hello {number}")
    more = staff.post(form_of(config), {"count": "5", "model": ""}).url
    work()
    assert [count_queries(staff, each) for each in (form_of(config), more)] == counted
    for missing in ("run_agent", "view_payload", "view_invocation"):
        other = client_of(*(name for name in CODENAMES if name != missing))
        assert [other.get(each).status_code for each in pages] == [403, 403]
        assert other.post(page + "cancel/").status_code == 403
    answers = url("invocation_answers", Invocation.objects.filter(replay_of__isnull=False)[0].pk)
    assert staff.get(answers).status_code == 200
    assert client_of("view_invocation", "run_agent").get(answers).status_code == 403
    assert staff.get(url("invocation_replay_batch", uuid.uuid4())).status_code == 404
    assert staff.get(url("invocation_replays") + "?agent=x").status_code == 404


def test_the_batch_renews_itself_in_the_browser_and_keeps_what_is_unfolded(browser, site, settings):
    with ModelServer(answer=lambda seen: f"Answer {len(model.requests)}: HbA1c 7.1 %.") as model:
        settings.TASKS = tasks_settings()
        settings.ZANGO_AI = {"ALLOWED_API_BASES": [model.url], "QUEUE": "tasks:no_worker"}
        panel_data.fill(runs=30, api_base=model.openai_base)
        agent = AgentConfig.objects.get(name="front-desk-chat")
        for number in range(3):
            get_agent(agent.name).run(f"Question {number}?", system_variables={"clinic": "North"})
        page = open_page(browser, site, width=WIDTHS[0], scheme=SCHEMES[0])
        page.goto(f"/admin/zango_ai/invocation/replays/?agent={agent.pk}")
        page.fill("[name=count]", "3")
        assert_sound(page)
        page.get_by_role("button", name="Replay").click()
        page.get_by_role("heading", name="0 of 3 replays have ended").wait_for()
        assert_sound(page)
        work(queued()[:1])
        page.get_by_role("heading", name="1 of 3 replays have ended").wait_for()
        page.locator(".za-unfold").click()
        page.locator(".za-unfolded ins").first.wait_for()
        assert_sound(page)
        page.set_viewport_size({"width": WIDTHS[1], "height": 900})
        page.emulate_media(color_scheme=SCHEMES[1])
        let_pass(60)
        page.get_by_text("No worker takes the replays.").wait_for()
        assert_sound(page)
        work()
        page.get_by_role("heading", name="3 of 3 replays have ended").wait_for()
        assert page.get_by_role("button", name="Cancel the rest").count() == 0
        assert page.locator(".za-unfolded ins:visible").count()
        assert page.locator(".za-unfold").count() == 3
        page.locator(".za-unfold").last.click()
        page.locator(".za-unfolded").nth(1).wait_for()
        assert_sound(page)
        Invocation.objects.update(model="claude-sonnet-4-5-20250929-v1:0", latency_ms=123_456)
        german = open_page(browser, site, width=WIDTHS[0], language="de")
        for status in ("success", "queued"):
            Invocation.objects.filter(replay_of__isnull=False).update(status=status)
            german.goto(page.url)
            assert german.locator(".za-unfold").count() == (3 if status == "success" else 0)
            assert_sound(german)
        connection.close()
