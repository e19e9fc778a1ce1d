from django.http import HttpRequest, HttpResponse
from django.urls import path
from tenants.models import Domain


def clinics(request: HttpRequest) -> HttpResponse:
    """List the sites of the clinic. All other pages belong to one site."""
    port = request.get_port()
    links = "".join(
        f'<li><a href="http://{domain.domain}:{port}/">{domain.tenant.name}</a></li>'
        for domain in Domain.objects.select_related("tenant").exclude(tenant__schema_name="public")
    )
    return HttpResponse(f"<!doctype html><title>Clinics</title><h1>Clinics</h1><ul>{links}</ul>")


urlpatterns = [path("", clinics)]
