from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Clinic(TenantMixin):
    """A site of the clinic. Each site is a tenant with a schema of its own."""

    name = models.CharField(max_length=100)
    timezone = models.CharField(max_length=60, blank=True, default="Europe/Berlin")
    """zango_ai: the site's budget months begin at midnight in this time zone."""
    auto_create_schema = True

    def __str__(self) -> str:
        return self.name


class Domain(DomainMixin):
    pass
