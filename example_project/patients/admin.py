from django.contrib import admin

from .models import Note, Patient, Visit


class VisitInline(admin.TabularInline):
    model = Visit
    extra = 0


class NoteInline(admin.TabularInline):
    model = Note
    extra = 0


@admin.register(Patient)
class PatientAdmin(admin.ModelAdmin):
    list_display = ["name", "born", "allergies", "flagged_for_review"]
    list_filter = ["flagged_for_review"]
    inlines = [VisitInline, NoteInline]
