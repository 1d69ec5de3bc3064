"""Variables and secrets of a user or of a workspace: one of a name in each category, encrypted, replaced whole.

What a ciphertext is bound to (owner, category, name) stays for the life of a row, so nothing here renames one or makes a
secret a general variable, which could be read.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.views.decorators.debug import sensitive_variables

from synapscale.common import audit
from synapscale.common.errors import Conflict
from workspaces.crypto import CannotDecrypt
from workspaces.models import User, UserVariable, Workspace

logger = logging.getLogger(__name__)

MAX_VALUE = 10_000
"""Characters."""
_ATTEMPTS = 3


def variables_of(owner: User | Workspace) -> QuerySet[UserVariable]:
    """All categories, in use or not."""
    return UserVariable.objects.filter(**_owned_by(owner))


@sensitive_variables("value")
def create(
    *,
    owner: User | Workspace,
    category: str,
    name: str,
    value: str,
    expires_at: datetime | None = None,
    is_active: bool = True,
) -> UserVariable:
    """A new variable. Raises Conflict where the owner has one of that category and name."""
    try:
        with transaction.atomic():
            return _insert(owner, category, name, value, expires_at, is_active)
    except IntegrityError:
        if not variables_of(owner).filter(category=category, name=name).exists():
            raise
        raise Conflict(
            f"There is a variable “{name}” in this category already; change it.", code="variable_exists"
        ) from None


@sensitive_variables("changes", "value")
def change(*, variable: UserVariable, changes: dict[str, Any]) -> UserVariable:
    """Set ``value``, ``is_active`` or ``expires_at``, and nothing that was not given."""
    columns, before = {"updated_at", *changes} - {"value"}, variable.hint
    for name, value in changes.items():
        if name == "value":
            variable.set_value(value)
            columns |= {"ciphertext", "key_id", "hint"}
        else:
            setattr(variable, name, value)
    with transaction.atomic():
        variable.save(update_fields=columns)
        if "value" in changes:
            audit.record_new_secret(variable, before=before)
    return variable


@sensitive_variables()
@transaction.atomic
def set_secret(
    *,
    owner: User | Workspace,
    category: str,
    name: str,
    value: str,
    expires_at: datetime | None = None,
    is_active: bool = True,
) -> tuple[UserVariable, bool]:
    """Create or replace it, and whether it is new. Of two at the same moment the later one stays, whole."""
    for attempt in range(1, _ATTEMPTS + 1):
        variable = variables_of(owner).select_for_update().filter(category=category, name=name).first()
        if variable is not None:
            changes = {"value": value, "expires_at": expires_at, "is_active": is_active}
            return change(variable=variable, changes=changes), False
        try:
            with transaction.atomic():
                return _insert(owner, category, name, value, expires_at, is_active), True
        except IntegrityError:  # somebody else has inserted it since
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def masked(variable: UserVariable) -> str:
    """All that is shown of a secret: its last four characters, where it is long enough to spare them."""
    return f"••••{variable.hint}"


def readable_value(variable: UserVariable) -> str | None:
    """The value of a general variable; None of one that is secret, or that can't be decrypted any more."""
    if variable.category != UserVariable.Category.GENERAL:
        return None
    try:
        return variable.get_value()
    except CannotDecrypt as error:
        logger.error("variable %s can't be read: %s", variable.pk, error)
        return None


def _owned_by(owner: User | Workspace) -> dict[str, Any]:
    return {"user": owner} if isinstance(owner, User) else {"workspace": owner}


@sensitive_variables("value")
def _insert(
    owner: User | Workspace, category: str, name: str, value: str, expires_at: datetime | None, is_active: bool
) -> UserVariable:
    variable = UserVariable(
        **_owned_by(owner), category=category, name=name, expires_at=expires_at, is_active=is_active
    )
    variable.set_value(value)
    variable.save(force_insert=True)
    return variable
