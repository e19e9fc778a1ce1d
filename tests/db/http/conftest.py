"""Clients of users of north, and the events that they read."""

import json
from dataclasses import dataclass

import pytest
from django.contrib.auth.models import User
from django.test import Client


@pytest.fixture
def client_of(north):
    """Logs a user in at north, once by name."""

    def log_in(name, **options):
        user, _ = User.objects.get_or_create(username=name)
        client = Client(headers={"host": north.domains.first().domain}, **options)
        client.force_login(user)
        return client

    north.domains.get_or_create(domain="north.localhost", is_primary=True)
    return log_in


@pytest.fixture
def ada(client_of):
    return client_of("ada")


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
