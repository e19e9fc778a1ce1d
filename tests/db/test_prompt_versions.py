"""Prompts and their versions: what was sent can always be looked up again."""

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import RestrictedError
from django_tenants.utils import schema_context

from tests.build import make_prompt
from tests.together import run_together
from zango_ai.models import Prompt, PromptVersion


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
