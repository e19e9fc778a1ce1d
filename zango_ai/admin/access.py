"""Permissions of the admin pages: only in a tenant, and view-only for the log."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import widgets
from django.db import models
from django.http import HttpRequest

from .. import tenancy


class TenantOnly(admin.options.BaseModelAdmin):
    """Hides the pages on the public schema, which has no tables of zango_ai."""

    formfield_overrides = {
        models.TextField: {"widget": widgets.AdminTextareaWidget(attrs={"rows": 3})},
    }

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _in_tenant() and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _in_tenant() and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return _in_tenant() and super().has_add_permission(request, *args)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _in_tenant() and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _in_tenant() and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Deleting related log rows, such as an agent's conversations, needs no extra permission."""
        pages: Any = super()  # only ModelAdmin has this method; Django never calls it on an inline
        deletable, counts, needed, protected = pages.get_deleted_objects(objs, request)
        log_models = {
            model._meta.verbose_name
            for model, registered in self.admin_site._registry.items()
            if isinstance(registered, ViewOnly)
        }
        return deletable, counts, needed - log_models, protected


class ViewOnly(TenantOnly):
    """For the log: nobody can add, change or delete rows in the admin, not even superusers."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _in_tenant() -> bool:
    return not tenancy.is_public(tenancy.current_schema())
