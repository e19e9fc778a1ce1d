from django.db import models


class Patient(models.Model):
    name = models.CharField(max_length=200)
    born = models.DateField()
    allergies = models.CharField(max_length=300, blank=True)
    flagged_for_review = models.BooleanField(default=False)
    ai_summary = models.TextField(blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def history(self) -> str:
        """The visits as plain text, oldest first, for an agent to read."""
        lines = [f"{self.name}, born {self.born}. Allergies: {self.allergies or 'none known'}."]
        lines += [f"{visit.on}: {visit.reason}. {visit.notes}" for visit in self.visits.all()]
        return "\n".join(lines)


class Visit(models.Model):
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE, related_name="visits")
    on = models.DateField()
    reason = models.CharField(max_length=200)
    notes = models.TextField(blank=True)

    class Meta:
        ordering = ["on"]

    def __str__(self) -> str:
        return f"{self.on}: {self.reason}"


class Note(models.Model):
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE, related_name="notes")
    text = models.TextField()
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-written_at"]

    def __str__(self) -> str:
        return self.text
