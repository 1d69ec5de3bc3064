"""Who leaves a workspace leaves their tokens for it behind, revoked, whichever way they leave."""

from typing import Any

from django.db.models.signals import post_delete

from workspaces import issuing
from workspaces.models import AccessToken, Membership


def revoke_tokens(sender: type[Membership], instance: Membership, **kwargs: Any) -> None:
    """A token must not come back to life when its user does."""
    tokens = AccessToken.objects.filter(user_id=instance.user_id, workspace_id=instance.workspace_id)
    for token in tokens.filter(revoked_at__isnull=True):
        issuing.revoke_noted(token)


def connect() -> None:
    post_delete.connect(revoke_tokens, sender=Membership, dispatch_uid="workspaces.revoke_tokens")
