"""Provider keys that users and workspaces bring along: one per owner and provider, kept as encrypted variables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from llm.keys import HOUSE, KEYLESS
from llm.models import ProviderName
from synapscale.common.errors import NotFound
from workspaces import variables
from workspaces.models import User, UserVariable, Workspace

PROVIDERS = {value: label for value, label in ProviderName.choices if value not in KEYLESS}
"""Those that take keys, with their names for people."""
KEY_TEXT = re.compile(r"[!-~]{8,500}")
"""What every vendor's key is, and nothing that could break out of a header."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """Which keys there are for a provider, and on which of them a call would run now."""

    name: str
    display_name: str
    has_own_key: bool
    has_workspace_key: bool
    has_house_key: bool
    key_source: str | None
    """None: a call would be refused."""


def keys_of(owner: User | Workspace) -> list[UserVariable]:
    """The keys of ``owner``, in use or not, in the order of the providers. One query."""
    rows = variables.variables_of(owner).filter(category=UserVariable.Category.API_KEY, name__in=PROVIDERS)
    return sorted(rows, key=lambda row: list(PROVIDERS).index(row.name))


def find_key(*, owner: User | Workspace, provider: str) -> UserVariable:
    """The key of ``owner`` for ``provider``, in use or not. Raises NotFound."""
    check_provider(provider)
    row = variables.variables_of(owner).filter(category=UserVariable.Category.API_KEY, name=provider).first()
    if row is None:
        whose = "You have no key of your own" if isinstance(owner, User) else "The workspace has no key of its own"
        raise NotFound(f"{whose} for {provider}.")
    return row


@sensitive_variables("key")
def set_key(
    *,
    owner: User | Workspace,
    provider: str,
    key: str,
    expires_at: datetime | None = None,
    is_active: bool = True,
) -> tuple[UserVariable, bool]:
    """Set or replace the key of ``owner`` for ``provider``, and whether it is new. Raises NotFound for the provider."""
    check_provider(provider)
    return variables.set_secret(
        owner=owner,
        category=UserVariable.Category.API_KEY,
        name=provider,
        value=key,
        expires_at=expires_at,
        is_active=is_active,
    )


def change_key(*, owner: User | Workspace, provider: str, changes: dict[str, Any]) -> UserVariable:
    """Set ``is_active`` or ``expires_at``, and nothing that was not given. Raises NotFound."""
    return variables.change(variable=find_key(owner=owner, provider=provider), changes=changes)


def drop_key(*, owner: User | Workspace, provider: str) -> None:
    """Raises NotFound."""
    find_key(owner=owner, provider=provider).delete()


def check_provider(provider: str) -> None:
    """Raises NotFound for one that there is not, or that takes no keys. What was sent is not repeated."""
    if provider not in PROVIDERS:
        raise NotFound(
            f"There is no such provider that takes keys, only {', '.join(PROVIDERS)}.", code="unknown_provider"
        )


def is_expired(key: UserVariable) -> bool:
    return key.expires_at is not None and key.expires_at <= timezone.now()


def in_use(keys: Iterable[UserVariable]) -> list[UserVariable]:
    """Those that calls run on."""
    return [key for key in keys if key.is_active and not is_expired(key)]


def states(*, user: User, workspace: Workspace) -> list[KeyState]:
    """How each provider stands for a call of ``user`` in ``workspace``. One query."""
    rows = UserVariable.objects.filter(
        Q(user=user) | Q(workspace=workspace), category=UserVariable.Category.API_KEY, name__in=PROVIDERS
    )
    owners: dict[str, set[str]] = defaultdict(set)
    for row in in_use(rows):
        owners[row.name].add("user" if row.user_id else "workspace")
    return [
        _state(name, owners[name], has_house_key=bool(settings.PROVIDERS[name]["api_key"]), user=user)
        for name in PROVIDERS
    ]


def _state(name: str, owners: set[str], *, has_house_key: bool, user: User) -> KeyState:
    # The order of llm.keys.credentials_for.
    paid = [HOUSE] if has_house_key and user.allows_paid_fallback else []
    sources = [*sorted(owners), *paid]
    return KeyState(
        name=name,
        display_name=str(PROVIDERS[name]),
        has_own_key="user" in owners,
        has_workspace_key="workspace" in owners,
        has_house_key=has_house_key,
        key_source=sources[0] if sources else None,
    )
