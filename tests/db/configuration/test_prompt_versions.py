"""Prompts and their versions: what was sent can always be looked up again."""

import json

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import RestrictedError

from tests.build import make_agent, make_prompt
from tests.schemas import schema_context
from tests.together import run_together
from zango_ai import get_agent, get_prompt
from zango_ai.models import Invocation, Prompt, PromptVersion


def statuses(prompt):
    return list(prompt.versions.order_by("version_number").values_list("status", flat=True))


def test_versions_are_numbered_and_the_first_is_active(north):
    prompt = make_prompt("Hello {{ name }}, {{name}} of {{ place }}")
    second = prompt.add_version("Hi", change_description="shorter")
    assert statuses(prompt) == ["active", "draft"]
    assert (second.version_number, second.change_description) == (2, "shorter")
    assert prompt.active_version.variables == ["name", "place"]


def test_activating_a_version_deactivates_the_other(north):
    prompt = make_prompt("one")
    second = prompt.add_version("two")
    second.activate()
    assert statuses(prompt) == ["inactive", "active"]
    assert Prompt.objects.get().active_version == second
    prompt.versions.get(version_number=1).activate()
    assert statuses(prompt) == ["active", "inactive"]


def test_a_version_may_be_created_active(north):
    prompt = make_prompt("one")
    version = PromptVersion.objects.create(prompt=prompt, version_number=7, content="x", status="active")
    assert version.status == "active"
    assert statuses(prompt) == ["inactive", "active"]
    assert prompt.active_version == Prompt.objects.get().active_version == version


def test_assigning_the_active_version_and_saving_activates_it(north):
    prompt = make_prompt("one")
    second = prompt.add_version("two")
    prompt.active_version = second
    prompt.save()
    assert statuses(prompt) == ["inactive", "active"]


def test_saving_a_prompt_that_was_loaded_earlier_does_not_bring_an_old_version_back(north):
    stale_prompt = make_prompt("one")
    stale = Prompt.objects.get()
    stale_prompt.add_version("two").activate()
    stale.description = "new words"
    stale.save()
    fresh = Prompt.objects.get()
    assert (fresh.description, fresh.active_version.content) == ("new words", "two")


def test_the_content_of_a_saved_version_never_changes(north):
    version = make_prompt("one").active_version
    version.content = "other"
    with pytest.raises(ValidationError, match="never change"):
        version.save()
    loaded = PromptVersion.objects.get()
    loaded.content = "other"
    with pytest.raises(ValidationError):
        loaded.save()
    with pytest.raises(ValueError, match="new version"):
        PromptVersion.objects.update(content="other")
    with pytest.raises(ValueError, match="new version"), transaction.atomic():
        PromptVersion.objects.bulk_update([loaded], ["content"])
    deferred = PromptVersion.objects.defer("content").get()
    deferred.content += ", changed"
    with pytest.raises(ValidationError):
        deferred.save()
    with pytest.raises(ValueError, match="one by one"):
        PromptVersion.objects.bulk_create([], update_conflicts=True)
    assert PromptVersion.objects.get().content == "one"


def test_saving_a_version_that_was_loaded_earlier_leaves_the_active_one_alone(north):
    prompt = make_prompt("one")
    prompt.add_version("two")
    stale = {v.version_number: v for v in PromptVersion.objects.all()}
    PromptVersion.objects.get(version_number=2).activate()
    for version in stale.values():
        version.change_description = "noted"
        version.save()
    assert statuses(prompt) == ["inactive", "active"]
    assert set(prompt.versions.values_list("change_description", flat=True)) == {"noted"}


def test_a_number_is_given_once(north):
    prompt = make_prompt("one")
    prompt.add_version("two").delete()
    assert prompt.add_version("three").version_number == 3


def test_the_active_version_is_one_of_the_prompts_own(north):
    prompt, other = make_prompt("one"), make_prompt("x", name="other")
    prompt.active_version = other.add_version("y")
    with pytest.raises(ValidationError, match="another prompt"):
        prompt.save()
    prompt.active_version = None
    with pytest.raises(ValidationError, match="active one"):
        prompt.save()
    with pytest.raises(ValueError, match="activate"):
        Prompt.objects.update(active_version=None)


def test_a_prompt_can_be_deleted_with_its_versions_and_an_active_version_alone_cannot(north):
    prompt = make_prompt("one")
    with pytest.raises(RestrictedError):
        prompt.active_version.delete()
    prompt.delete()
    assert not PromptVersion.objects.exists()


def test_versions_saved_at_once_get_numbers_of_their_own_and_one_is_active(live_north):
    prompt = make_prompt("one")

    def add():
        with schema_context("north"):
            Prompt.objects.get(pk=prompt.pk).add_version("more").activate()

    run_together([add] * 6)
    assert sorted(prompt.versions.values_list("version_number", flat=True)) == [1, 2, 3, 4, 5, 6, 7]
    assert statuses(prompt).count("active") == 1


# Rows that were not saved by these classes


@pytest.fixture
def historical(north):
    """The models as a data migration gets them: without methods, managers and ``save()`` of their own."""
    state = MigrationExecutor(connection).loader.project_state()
    return lambda name: state.apps.get_model("zango_ai", name)


def by_migration(historical, content="Hello {{ name }}", **fields):
    prompt = historical("Prompt").objects.create(name="made", type="user")
    values = {"version_number": 1, "status": "active", **fields}
    version = historical("PromptVersion").objects.create(prompt=prompt, content=content, **values)
    return Prompt.objects.get(pk=prompt.pk), version


def test_a_prompt_that_a_migration_made_is_sent(model, historical):
    prompt, _ = by_migration(historical)
    make_agent(model, user_prompt=prompt)
    assert get_agent("helper").run(variables={"name": "Ada"}).content.endswith("You asked: Hello Ada")
    assert Invocation.objects.get().user_prompt_version == 1
    assert get_prompt("made").active_version.variables == ["name"]


def test_its_versions_go_on_with_the_next_number(historical):
    prompt, version = by_migration(historical)
    second = prompt.add_version("two")
    assert (second.version_number, statuses(prompt)) == (2, ["active", "draft"])
    assert Prompt.objects.get().active_version_id == version.pk
    second.activate()
    assert statuses(prompt) == ["inactive", "active"]


def test_one_whose_active_version_alone_was_set_is_completed(historical):
    prompt, version = by_migration(historical, status="draft")
    historical("Prompt").objects.update(active_version=version)
    prompt = Prompt.objects.get()
    prompt.add_version("two")
    assert statuses(prompt) == ["active", "draft"]


def test_a_migration_that_sets_another_active_version_leaves_one_status_active(historical):
    prompt, _ = by_migration(historical, status="active")
    second = historical("PromptVersion").objects.create(
        prompt_id=prompt.pk, version_number=2, content="two", status="inactive"
    )
    historical("Prompt").objects.update(active_version=second)
    prompt.refresh_from_db()
    prompt.add_version("three")
    assert prompt.active_version.content == "two"
    assert statuses(prompt) == ["inactive", "active", "draft"]


def test_the_next_number_is_known_where_numbers_were_given_by_others(historical):
    prompt, _ = by_migration(historical, version_number=7)
    assert prompt.add_version("eight").version_number == 8


def test_what_dumpdata_wrote_loaddata_reads(north, tmp_path):
    prompt = make_prompt("Hello {{ name }}")
    prompt.add_version("two")
    before = list(PromptVersion.objects.values_list("version_number", "status", "content"))
    call_command("dumpdata", "zango_ai.prompt", "zango_ai.promptversion", output=str(tmp_path / "all.json"))
    prompt.delete()
    call_command("loaddata", str(tmp_path / "all.json"), verbosity=0)
    assert list(PromptVersion.objects.values_list("version_number", "status", "content")) == before
    assert Prompt.objects.get().add_version("three").version_number == 3


def test_a_fixture_that_was_written_by_hand_is_as_good(north, tmp_path):
    rows = [
        {"model": "zango_ai.prompt", "pk": 901, "fields": {"name": "made", "type": "user"}},
        {
            "model": "zango_ai.promptversion",
            "pk": 901,
            "fields": {"prompt": 901, "version_number": 1, "status": "active", "content": "Hi {{ who }}"},
        },
    ]
    stamps = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    for row in rows:
        row["fields"] |= stamps
    (tmp_path / "made.json").write_text(json.dumps(rows))
    call_command("loaddata", str(tmp_path / "made.json"), verbosity=0)
    assert get_prompt("made").active_version.variables == ["who"]
    assert get_prompt("made").add_version("two").version_number == 2
