"""Whose key a call runs on: the user's own, else the workspace's, else the house's."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from llm import connections
from llm.errors import PaidFallbackForbidden, ProviderNotConfigured
from llm.models import LLM, ProviderName
from llm.types import Credentials
from workspaces.crypto import CannotDecrypt
from workspaces.models import User, UserVariable, Workspace

logger = logging.getLogger(__name__)
HOUSE = "global"
KEYLESS = frozenset({ProviderName.DEMO.value, ProviderName.PRIVATE.value})
"""What no key of a user's or workspace's is for: the demo, and hosts that are the operator's own."""


def credentials_for(*, user: User, workspace: Workspace, llm: LLM, source: str = "") -> Credentials:
    """The credentials for a call of ``llm``, in one query. Raises ProviderNotConfigured, or PaidFallbackForbidden.

    ``source`` (``user`` or ``workspace``) insists on the key of that owner. The key is in clear in the result, for the
    length of the call. A user's or workspace's key goes to the vendor's own endpoint or to the base URL the operator
    configured, never anywhere else.
    """
    provider = llm.provider
    base_url = settings.PROVIDERS.get(provider, {}).get("base_url", "")
    # The user's own first.
    for variable in sorted(_own_keys(user, workspace).filter(name=provider), key=lambda row: row.user_id is None):
        owner = "user" if variable.user_id else "workspace"
        if source in ("", owner):
            return Credentials(
                provider=provider, api_key=_opened(variable), base_url=base_url, source=owner, hint=variable.hint
            )
    if source:
        raise ProviderNotConfigured(f"There is no key of the {source}'s own for {provider}.", provider=provider)
    house = _house(llm, base_url)
    _check_paid(user, provider)
    return house


def own_sources(*, user: User, workspace: Workspace) -> dict[str, str]:
    """The providers that there is an own key for, and whose a call would run on: ``user`` or ``workspace``. One query."""
    own = _own_keys(user, workspace).order_by().values_list("name", "user_id")
    # The user's own last: that is the one that counts.
    return {name: "user" if owner else "workspace" for name, owner in sorted(own, key=lambda row: row[1] is not None)}


def source_for(*, user: User, llm: LLM, own: Mapping[str, str]) -> str:
    """Whose key a call of ``llm`` would run on, by ``own_sources``. No query; no key is opened.

    Raises ProviderNotConfigured or PaidFallbackForbidden, as ``credentials_for`` does.
    """
    if llm.provider in own:
        return own[llm.provider]
    _check_house(llm)
    _check_paid(user, llm.provider)
    return HOUSE


def providers_with_key(*, user: User, workspace: Workspace) -> set[str]:
    """The providers a call of ``user`` in ``workspace`` would find a key for. One query."""
    own = set(_own_keys(user, workspace).values_list("name", flat=True))
    if not user.allows_paid_fallback:
        return own
    house = {name for name, provider in settings.PROVIDERS.items() if provider["api_key"]}
    return {*KEYLESS, *house, *own}


def _house(llm: LLM, base_url: str) -> Credentials:
    _check_house(llm)
    if llm.provider == ProviderName.DEMO:
        return Credentials(provider=llm.provider, api_key="demo", source=HOUSE)
    if llm.connection is not None:
        return connections.credentials(llm.connection)
    api_key = settings.PROVIDERS[llm.provider]["api_key"]
    return Credentials(provider=llm.provider, api_key=api_key, base_url=base_url, source=HOUSE)


def _check_house(llm: LLM) -> None:
    if llm.provider not in KEYLESS and not settings.PROVIDERS.get(llm.provider, {}).get("api_key"):
        raise ProviderNotConfigured(f"No key is configured for {llm.provider}.", provider=llm.provider)


def _check_paid(user: User, provider: str) -> None:
    if not user.allows_paid_fallback:
        raise PaidFallbackForbidden(
            f"There is no own key for {provider}, and you let no call fall back to paid credit.", provider=provider
        )


def _opened(variable: UserVariable) -> str:
    try:
        return variable.get_value()
    except CannotDecrypt as error:
        logger.error("key %s of provider %s can't be read: %s", variable.pk, variable.name, error)
        # Falling back to another key could surprise with a bill.
        whose = "Your" if variable.user_id else "The workspace's"
        raise ProviderNotConfigured(
            f"{whose} {variable.name} key can't be read; set it again.", provider=variable.name
        ) from None


def _own_keys(user: User, workspace: Workspace) -> QuerySet[UserVariable]:
    return UserVariable.objects.exclude(name__in=KEYLESS).filter(
        Q(user=user) | Q(workspace=workspace),
        Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()),
        category=UserVariable.Category.API_KEY,
        is_active=True,
    )
