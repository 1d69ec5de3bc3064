"""Private hosts as they are called: their keys, encrypted into their rows, and the credentials of a call.

A connection's key goes to the base URL of its own row and nowhere else, and no other key ever goes there: a host
without one is called with a placeholder.
"""

from __future__ import annotations

import logging

from django.utils.translation import gettext_noop
from django.views.decorators.debug import sensitive_variables

from llm import hosts
from llm.errors import ProviderHostForbidden, ProviderNotConfigured
from llm.models import ProviderConnection, ProviderName
from llm.types import Credentials
from workspaces import crypto

logger = logging.getLogger(__name__)

NO_KEY = "none"
"""What a host without a key is sent instead: OpenAI's SDK insists on one, and such hosts ignore it."""
SECRET_COLUMNS = ("ciphertext", "key_id", "hint")


def bound_to(connection: ProviderConnection) -> str:
    """What the ciphertext of a connection's key is bound to."""
    return f"connection|{connection.pk}"


@sensitive_variables("secret")
def set_key(connection: ProviderConnection, secret: str) -> None:
    """Encrypt ``secret`` into the connection (not saved yet)."""
    connection.key_id, connection.ciphertext = crypto.encrypt(secret, bound_to=bound_to(connection))
    connection.hint = secret[-4:] if len(secret) >= 12 else ""


def drop_key(connection: ProviderConnection) -> None:
    """Take the key off the connection (not saved yet)."""
    connection.ciphertext, connection.key_id, connection.hint = None, "", ""


def credentials(connection: ProviderConnection) -> Credentials:
    """Where and as whom to call the host. The key is in clear in it, for the length of a call.

    Raises ``ProviderNotConfigured`` for a connection that is switched off or whose key can't be read, and
    ``ProviderHostForbidden`` for a base URL that could not have been entered.
    """
    name = ProviderName.PRIVATE.value
    if not connection.is_active:
        raise ProviderNotConfigured(
            gettext_noop("The host %(host)s is switched off."), values={"host": connection.slug}, provider=name
        )
    try:
        hosts.check_url(connection.base_url, allows_private=connection.allows_private_addresses)
    except hosts.HostForbidden as fault:
        raise ProviderHostForbidden(
            gettext_noop("The host %(host)s can't be called. %(fault)s"),
            values={"host": connection.slug, "fault": fault},
            provider=name,
        ) from None
    key = NO_KEY
    if connection.ciphertext is not None:
        try:
            key = crypto.decrypt(bytes(connection.ciphertext), key_id=connection.key_id, bound_to=bound_to(connection))
        except crypto.CannotDecrypt as error:
            logger.error("the key of connection %s can't be read: %s", connection.pk, error)
            raise ProviderNotConfigured(
                gettext_noop("The key of %(host)s can't be read; set it again."),
                values={"host": connection.slug},
                provider=name,
            ) from None
    return Credentials(
        provider=name,
        api_key=key,
        base_url=connection.base_url,
        source="global",
        guard=hosts.PRIVATE if connection.allows_private_addresses else hosts.PUBLIC,
    )
