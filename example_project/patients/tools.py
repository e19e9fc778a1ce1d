"""What agents may do with patients. Staff choose in the admin which agent may do which."""

from zango_ai import ToolParam, ToolSafety, tool

from .models import Note, Patient, Visit


@tool(description="Find patients by a part of their name.", section="patients")
def find_patient(name: str = ToolParam(description="All or a part of the name.", min_length=2)) -> list[dict]:
    found = Patient.objects.filter(name__icontains=name)[:10]
    return [{"id": p.pk, "name": p.name, "born": p.born, "allergies": p.allergies} for p in found]


@tool(description="Count the appointments of a patient.", section="patients")
def count_appointments(
    patient_id: int = ToolParam(description="The id that find_patient gives."),
    year: int | None = ToolParam(description="Only those of this year.", default=None),
) -> dict:
    visits = Visit.objects.filter(patient=patient_id)
    if year is not None:
        visits = visits.filter(on__year=year)
    return {"appointments": visits.count()}


@tool(
    description="Record a note for the staff with a patient.",
    section="patients",
    safety=ToolSafety.WRITE,
    requires_approval=True,
)
def record_note(
    patient_id: int = ToolParam(description="The id that find_patient gives."),
    text: str = ToolParam(description="What to write down.", max_length=2000),
) -> dict:
    patient = Patient.objects.filter(pk=patient_id).first()
    if patient is None:
        return {"error": f"There is no patient with the id {patient_id}."}
    return {"note": Note.objects.create(patient=patient, text=text).pk}
