"""Tools for agents. In the admin, staff choose which agent can call which tool."""

from zango_ai import ToolParam, ToolSafety, tool

from .models import Note, Patient, Visit


@tool(description="Find patients by name.", section="patients")
def find_patient(name: str = ToolParam(description="All or part of the name.", min_length=2)) -> list[dict]:
    patients = Patient.objects.filter(name__icontains=name)[:10]
    return [{"id": p.pk, "name": p.name, "born": p.born, "allergies": p.allergies} for p in patients]


@tool(description="Count a patient's appointments.", section="patients")
def count_appointments(
    patient_id: int = ToolParam(description="The id that find_patient returns."),
    year: int | None = ToolParam(description="Count only this year.", default=None),
) -> dict:
    visits = Visit.objects.filter(patient=patient_id)
    if year is not None:
        visits = visits.filter(on__year=year)
    return {"appointments": visits.count()}


def _describe_note(patient_id: int, text: str) -> str:
    return f"Write into the record of {Patient.objects.get(pk=patient_id)}: {text}"


@tool(
    description="Add a note to a patient's record.",
    section="patients",
    safety=ToolSafety.WRITE,
    requires_approval=True,
    describe=_describe_note,
)
def record_note(
    patient_id: int = ToolParam(description="The id that find_patient returns."),
    text: str = ToolParam(description="The text of the note.", max_length=2000),
) -> dict:
    patient = Patient.objects.filter(pk=patient_id).first()
    if patient is None:
        return {"error": f"There is no patient with id {patient_id}."}
    return {"note": Note.objects.create(patient=patient, text=text).pk}
