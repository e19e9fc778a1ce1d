"""Who may see a page: staff with the permission, in a tenant; and never change what is a log."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin import widgets
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from .. import tenancy


class TenantOnly(admin.options.BaseModelAdmin):
    """Absent from the admin of the public schema, which has no such tables."""

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
        """What is deleted along, such as an agent's conversations, needs no permission of its own."""
        pages: Any = super()  # an inline has no such page, and does not call this
        deletable, counts, needed, protected = pages.get_deleted_objects(objs, request)
        along = {
            model._meta.verbose_name
            for model, registered in self.admin_site._registry.items()
            if isinstance(registered, ViewOnly)
        }
        return deletable, counts, needed - along, protected


class ViewOnly(TenantOnly):
    """A log: nobody adds, changes or deletes a row by hand, superusers included."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def preformatted(value: Any) -> SafeString | str:
    """Text or JSON as it was written, line breaks and all."""
    if value in (None, "", [], {}):
        return "-"
    shown = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="zango-ai-text">{}</pre>', shown)


def _in_tenant() -> bool:
    return not tenancy.is_public(tenancy.current_schema())
