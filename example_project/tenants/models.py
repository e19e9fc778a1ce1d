from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Clinic(TenantMixin):
    """One site of the clinic, with a schema of its own."""

    name = models.CharField(max_length=100)
    auto_create_schema = True

    def __str__(self) -> str:
        return self.name


class Domain(DomainMixin):
    pass
