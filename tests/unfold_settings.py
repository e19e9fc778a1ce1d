"""The example project with django-unfold, which replaces the admin's templates."""

from clinic.settings import *  # noqa: F403

INSTALLED_APPS = ["unfold", *INSTALLED_APPS]  # noqa: F405
TENANT_APPS = ["unfold", *TENANT_APPS]  # noqa: F405
