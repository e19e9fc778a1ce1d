from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Clinic(TenantMixin):
    """One site of the clinic, with a schema of its own."""

    name = models.CharField(max_length=100)
    timezone = models.CharField(max_length=60, blank=True, default="Europe/Berlin")
    """zango_ai: the months of the site's budgets begin at its own midnight."""
    auto_create_schema = True

    def __str__(self) -> str:
        return self.name


class Domain(DomainMixin):
    pass
