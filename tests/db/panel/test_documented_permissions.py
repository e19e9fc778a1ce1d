"""The permissions that the page about security lists are enough, and none of them can be left out."""

import re
from pathlib import Path

import pytest
from django.urls import reverse

from tests.build import make_agent_with, make_prompt, make_provider
from tests.server_tools import move_cot
from zango_ai import get_agent
from zango_ai.models import AgentConfig, Invocation
from zango_ai.testing import Call, Reply

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "secure.md"
ROWS = {
    person: re.findall(r"`(\w+)`", permissions)
    for person, permissions in re.findall(r"^\| ([^|]+) \| (`.*`) \|$", PAGE.read_text(), re.MULTILINE)
    if re.match("`(view|change)_", permissions)
}


@pytest.fixture
def rows(model, north):
    """An agent with a prompt, and a run that waits for approval, by the name of its model."""
    prompt = make_prompt("You are kind.", "system", "kindness")
    make_agent_with(model, move_cot, provider=make_provider(model), system_prompt=prompt)
    model.script(Reply(calls=[Call("move_cot", {"to": "B"})]))
    get_agent("helper").run("secret question")
    agent = AgentConfig.objects.get()
    found = (agent, agent.provider, prompt, Invocation.objects.get())
    return {row._meta.model_name: row for row in found}


def url(page, row):
    return reverse(f"admin:zango_ai_{page}", args=[row.pk])


def reads_the_log(client, rows):
    return client.get(url("invocation_change", rows["invocation"])).status_code == 200


def reads_texts(client, rows):
    return "secret question" in client.get(url("invocation_change", rows["invocation"])).content.decode()


def writes_a_prompt(client, rows):
    content = {"name": "kindness", "type": "system", "description": "", "content": "You are brief."}
    client.post(url("prompt_change", rows["prompt"]), {**content, "change_description": "shorter"})
    return rows["prompt"].versions.count() == 2


def activates_a_prompt(client, rows):
    version = rows["prompt"].add_version("You are brief.")
    address = reverse("admin:zango_ai_prompt_activate", args=[rows["prompt"].pk, version.version_number])
    client.post(address)
    version.refresh_from_db()
    return version.status == "active"


def opens_the_playground(client, rows):
    return client.get(url("agentconfig_playground", rows["agentconfig"])).status_code == 200


def may_decide(client, rows):
    return "Decide and continue the run" in client.get(url("approval", rows["invocation"])).content.decode()


def enters_a_key(client, rows):
    return 'name="api_key"' in client.get(url("provider_change", rows["provider"])).content.decode()


SHOWN_BY = {
    "reads what agents did, without texts": reads_the_log,
    "also reads prompts and answers": reads_texts,
    "writes prompts": writes_a_prompt,
    "puts a version of a prompt into use": activates_a_prompt,
    "tries agents at the tenant's cost": opens_the_playground,
    "decides tool calls": may_decide,
    "enters API keys": enters_a_key,
}


def test_every_row_of_the_table_is_tried():
    assert ROWS.keys() == SHOWN_BY.keys()


@pytest.mark.parametrize("person", ROWS)
def test_the_permissions_of_a_person_are_enough_and_needed(person, rows, client_of):
    can = SHOWN_BY[person]
    for left_out in ROWS[person]:
        assert not can(client_of(*(each for each in ROWS[person] if each != left_out)), rows), left_out
    assert can(client_of(*ROWS[person]), rows)
