"""Permissions and roles in the language of whoever gives them. The database has their names in English."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

_DEFAULT = {
    "add": _("Can add %(name)s"),
    "change": _("Can change %(name)s"),
    "delete": _("Can delete %(name)s"),
    "view": _("Can view %(name)s"),
}


def permission_text(permission: Permission) -> str:
    """``Billing | wallet | Can top up a wallet``."""
    kind = permission.content_type
    model = kind.model_class()
    action = permission.codename.removesuffix(f"_{kind.model}")
    if model is not None and action in _DEFAULT:
        name = _DEFAULT[action] % {"name": model._meta.verbose_name}
    else:
        name = gettext(permission.name)  # of Meta.permissions, where it is marked with gettext_noop
    return f"{kind} | {name}"


def role_text(group: Group) -> str:
    """The name of one of our roles (``office.roles``) in the reader's language, of any other as somebody gave it: nobody
    gives names in the context “role”.
    """
    return pgettext("role", group.name)


def name_roles() -> None:
    """Have lists, select boxes and titles call roles so, wherever Django makes them."""
    Group.add_to_class("__str__", role_text)


class NamesPermissions:
    """A model admin on whose page permissions are chosen."""

    def formfield_for_manytomany(self, db_field: models.ManyToManyField, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]
        if field is not None and db_field.remote_field.model is Permission:
            field.label_from_instance = permission_text
        return field
