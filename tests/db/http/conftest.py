"""Clients of users of north, in this process and on real web servers, and the events that they read."""

import json
from dataclasses import dataclass

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.schemas import add_domains, all_tenants, remove_domains
from tests.servers import COMMANDS, web_servers


@pytest.fixture
def client_of(north):
    """Logs a user in at north, once by name."""

    def log_in(name, **options):
        user, _ = User.objects.get_or_create(username=name)
        client = Client(headers={"host": "north.localhost"}, **options)
        client.force_login(user)
        return client

    add_domains(north, "north.localhost")
    return log_in


@pytest.fixture
def ada(client_of):
    return client_of("ada")


CSRF = "c" * 32


@pytest.fixture(scope="session")
def script(tmp_path_factory):
    """The file that the page of the servers loads as its script."""
    return tmp_path_factory.mktemp("script") / "script.js"


@pytest.fixture(scope="session")
def ports(django_db_setup, django_db_blocker, _running_model, script):
    """The ports of both servers."""
    with django_db_blocker.unblock(), web_servers({"ALLOWED_API_BASES": [_running_model.url]}, script) as ports:
        yield ports


@pytest.fixture
def cookies(live_north):
    """Those of a user who is logged in at north."""
    add_domains(all_tenants()["north"], "north.localhost", "127.0.0.1")
    user = User.objects.create(username="ada")
    session = Client()
    session.force_login(user)
    yield {"sessionid": session.cookies["sessionid"].value, "csrftoken": CSRF}
    remove_domains("north.localhost", "127.0.0.1")


@pytest.fixture(params=COMMANDS)
def server(request, ports, cookies):
    """An HTTP client of each server, logged in at north."""
    headers = {"Host": "north.localhost", "X-CSRFToken": CSRF}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{ports[request.param]}", cookies=cookies, headers=headers, timeout=30
    ) as client:
        yield client


def post(client, path, body=None, **options):
    return client.post(f"/ai/{path}", json.dumps(body or {}), content_type="application/json", **options)


def error_of(response):
    return response.json()["error"]


@dataclass
class Event:
    """A server-sent event, as a client reads it."""

    id: str
    data: object

    def __getitem__(self, key):
        return self.data[key]


def events_of(text):
    """The events in the text of a stream."""
    events = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":")]
        if lines:
            fields = dict(lines)
            data = fields["data"]
            events.append(Event(fields.get("id", ""), data if data == "[DONE]" else json.loads(data)))
    return events


def read(response):
    """The events of the test client's response."""
    return events_of(b"".join(response.streaming_content).decode())


def kinds(events):
    """The types, with one ``text`` for each piece that follows another."""
    types = [event["type"] for event in events]
    return [each for before, each in zip([None, *types], types, strict=False) if (before, each) != ("text", "text")]


def said(events):
    return "".join(event["text"] for event in events if event["type"] == "text")
