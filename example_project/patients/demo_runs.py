"""The demo's runs in one tenant: every kind of input and output."""

from dataclasses import dataclass
from typing import Annotated, Literal

from django.core.management.base import OutputWrapper
from pydantic import Field
from tenants.models import Clinic

from patients.answering import Answering
from patients.models import Patient
from zango_ai import LLMFile, LLMMessage, LLMResponse, get_agent
from zango_ai.models import InvocationFile
from zango_ai.testing import Call, Reply


@dataclass
class Triage:
    """The answer that ``sort_message`` asks for."""

    urgency: Literal["routine", "soon", "emergency"]
    reason: Annotated[str, Field(max_length=80)]


@dataclass(frozen=True)
class DemoRuns:
    clinic: Clinic
    patient: Patient
    answering: Answering
    out: OutputWrapper

    def all(self) -> None:
        if "main" in self.answering.providers:
            self.ask_front_desk()
            self.stream_answer()
            self.ask_about_patient()
            self.sort_message()
        if "second" in self.answering.providers:
            self.ask_second_opinion()
            self.compare_reports()
        if "main" in self.answering.providers:
            self.converse()
            self.use_tools()
            self.run_in_background()

    def ask_front_desk(self) -> None:
        question = "When are you open on Saturdays?"
        self.show("run(input=)", question, get_agent("front-desk").run(question))

    def stream_answer(self) -> None:
        """Print the answer while it is written."""
        question = "What should I bring to my first visit?"
        self.out.write(f"\n  stream()\n  question  {question}")
        self.out.write("  answer    ", ending="")
        for chunk in get_agent("front-desk").stream(question):
            self.out.write(_indented(chunk.delta_text), ending="")
            self.out.flush()
            if chunk.response is not None:
                self.out.write("")
                self.show_usage(chunk.response)

    def ask_about_patient(self) -> None:
        question = "What is this patient allergic to?"
        response = get_agent("patient-summary").run(
            variables={"history": self.patient.history(), "question": question},
            system_variables={"clinic": self.clinic.name},
            triggered_by="user",
        )
        self.show("run(variables=, system_variables=)", f"(history of {self.patient.name}) {question}", response)

    def sort_message(self) -> None:
        """The answer is JSON, checked against the class and turned into an instance of it."""
        message = "I have been dizzy since yesterday when I stand up."
        self.script('{"urgency": "soon", "reason": "Dizziness on standing"}')
        response = get_agent("front-desk").run(message, output_type=Triage)
        self.show("run(output_type=)", message, response)
        self.out.write(f"  parsed    {response.parsed_content}")

    def ask_second_opinion(self) -> None:
        messages = [
            LLMMessage("user", f"I read: {self.patient.history()}"),
            LLMMessage("assistant", "I have read the history."),
            LLMMessage("user", "Which follow-up is open?"),
        ]
        response = get_agent("second-opinion").run(
            messages=messages, system_variables={"clinic": self.clinic.name}, triggered_by="system"
        )
        self.show("run(messages=)", messages[-1].content, response)

    def compare_reports(self) -> None:
        question = "Which values have changed?"
        reports = [
            LLMFile.from_bytes(b"test,value\nHbA1c,7.1\n", "text/csv", "lab-june.csv"),
            LLMFile.from_bytes(b"test,value\nHbA1c,6.4\n", "text/csv", "lab-november.csv"),
        ]
        response = get_agent("report-analyser").run(question, files=reports, triggered_by="system")
        self.show("run(files=)", f"({', '.join(report.filename for report in reports)}) {question}", response)
        for file in InvocationFile.objects.filter(invocation=response.invocation_id):
            self.out.write(f"  stored    {file.filename}, {file.size_bytes} bytes, as {file.file.name}")

    def converse(self) -> None:
        """Three turns. The last question needs the memory of the first."""
        session_id = None
        for question in (
            "I am Ada, and penicillin gives me a rash.",
            "When are you open?",
            "What did I tell you first?",
        ):
            response = get_agent("chat-agent").run(question, session_id=session_id, user_ref="demo")
            title = "run(), new conversation" if session_id is None else "run(session_id=)"
            session_id = response.session_id
            self.show(title, question, response)

    def use_tools(self) -> None:
        """The model finds a patient, counts appointments, and adds a note after a person has approved it."""
        if self.answering.is_on_this_computer:
            self.out.write("\n  run() with tools\n  left out  This model is too small to call tools.")
            return
        name, pk = self.patient.name, self.patient.pk
        question = f"How often was {name} here in 2026? Write down that a check-up is due."
        self.script(
            Reply(calls=[Call("find_patient", {"name": name})]),
            Reply(
                calls=[
                    Call("count_appointments", {"patient_id": pk, "year": 2026}),
                    Call("record_note", {"patient_id": pk, "text": "A check-up is due."}),
                ]
            ),
        )
        agent = get_agent("care-assistant")
        response = agent.run(question, triggered_by="user")
        self.show("run() with tools", question, response)
        if response.stop_reason == "approval_required":
            for pending in response.pending_approvals:
                self.out.write(f"  waits     for approval: {pending.tool_name}({dict(pending.arguments)})")
            decisions = {pending.id: True for pending in response.pending_approvals}
            response = agent.resume(response.run_id, decisions, decided_by="demo")
            self.show("resume() after approval", question, response)
        for call in response.tool_calls:
            self.out.write(f"  called    {call.name}({dict(call.input)}): {call.status}, {call.result}")
        for note in self.patient.notes.all():
            self.out.write(f"  note      {note.text}")

    def run_in_background(self) -> None:
        """Queue a run, wait for the worker, and show its response."""
        question = "Which follow-ups are open?"
        run = get_agent("patient-summary").enqueue(
            variables={"history": self.patient.history(), "question": question},
            system_variables={"clinic": self.clinic.name},
        )
        self.out.write(f"\n  enqueue() run {run.run_id}, status: {run.status}")
        self.out.write(f"  wait()    status: {run.wait(timeout=120)}")
        question = f"(history of {self.patient.name}) {question}"
        self.show("response() of the background run", question, run.response())

    def script(self, *replies: Reply | str) -> None:
        """What the stand-in answers next. A real model answers for itself."""
        if self.answering.stand_in is not None:
            self.answering.stand_in.reset()
            self.answering.stand_in.script(*replies)

    def show(self, title: str, question: str, response: LLMResponse) -> None:
        self.out.write(f"\n  {title}")
        self.out.write(f"  question  {question}")
        self.out.write(f"  answer    {_indented(response.content)}")
        self.show_usage(response)

    def show_usage(self, response: LLMResponse) -> None:
        cost = f"${response.cost_usd:.8f}" if response.is_cost_known else "price unknown"
        usage = response.usage
        self.out.write(
            f"  usage     {usage.input_tokens} tokens in, {usage.output_tokens} out, {cost}, "
            f"{response.latency_ms} ms, {response.model}{', cut off' * (response.stop_reason == 'max_tokens')}"
        )


def _indented(text: str) -> str:
    return text.replace("\n", "\n            ")
