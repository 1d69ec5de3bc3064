"""Whose key a call runs on: the user's own, else the workspace's, else the house's."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from llm.errors import ProviderNotConfigured
from llm.types import Credentials
from workspaces.crypto import CannotDecrypt
from workspaces.models import User, UserVariable, Workspace

logger = logging.getLogger(__name__)


def credentials_for(*, user: User, workspace: Workspace, provider: str) -> Credentials:
    """The credentials for a call, in one query. Raises ProviderNotConfigured.

    The key is in clear in the result, for the length of the call. A user's or workspace's key goes to the vendor's own
    endpoint or to the base URL the operator configured, never anywhere else.
    """
    house = settings.PROVIDERS.get(provider, {"api_key": "", "base_url": ""})
    if provider == "demo":
        return Credentials(provider=provider, api_key="demo", source="global")
    # The user's own first.
    for variable in sorted(_own_keys(user, workspace).filter(name=provider), key=lambda row: row.user_id is None):
        source = "user" if variable.user_id else "workspace"
        try:
            key = variable.get_value()
        except CannotDecrypt as error:
            logger.error("key %s of provider %s can't be read: %s", variable.pk, provider, error)
            # Falling back to another key could surprise with a bill.
            raise ProviderNotConfigured(
                f"Your {provider} key can't be read; set it again.", provider=provider
            ) from None
        return Credentials(provider=provider, api_key=key, base_url=house["base_url"], source=source)
    if not house["api_key"]:
        raise ProviderNotConfigured(f"No key is configured for {provider}.", provider=provider)
    return Credentials(provider=provider, api_key=house["api_key"], base_url=house["base_url"], source="global")


def providers_with_key(*, user: User, workspace: Workspace) -> set[str]:
    """The providers a call of ``user`` in ``workspace`` would find a key for. One query."""
    house = {name for name, provider in settings.PROVIDERS.items() if provider["api_key"]}
    return {"demo", *house, *_own_keys(user, workspace).values_list("name", flat=True)}


def _own_keys(user: User, workspace: Workspace) -> QuerySet[UserVariable]:
    return UserVariable.objects.filter(
        Q(user=user) | Q(workspace=workspace),
        Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()),
        category=UserVariable.Category.API_KEY,
        is_active=True,
    )
