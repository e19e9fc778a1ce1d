"""Test tools as plain functions: they need no agent."""

import pytest

from patients.models import Note, Patient
from patients.tools import count_appointments, find_patient, record_note

pytestmark = pytest.mark.usefixtures("north")


def test_patients_are_found_by_a_part_of_their_name() -> None:
    assert [patient["name"] for patient in find_patient("berg")] == ["Ada Berger"]


def test_appointments_are_counted_by_year(ada: Patient) -> None:
    assert count_appointments(ada.pk) == {"appointments": 2}
    assert count_appointments(ada.pk, year=2025) == {"appointments": 0}


def test_a_note_needs_a_patient(ada: Patient) -> None:
    assert record_note(ada.pk, "Feels well.") == {"note": Note.objects.get().pk}
    assert record_note(0, "Nobody.") == {"error": "There is no patient with id 0."}
