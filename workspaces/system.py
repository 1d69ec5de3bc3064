"""The system's own workspace: calls that SynapScale makes for itself are metered there, and charged to nobody.

Its id is fixed, so nobody else's workspace can be taken for it, whatever it is called.
"""

from __future__ import annotations

import uuid

from workspaces.models import Membership, User, Workspace

WORKSPACE_ID = uuid.UUID("01900000-0000-7000-8000-000000000001")
USER_ID = uuid.UUID("01900000-0000-7000-8000-000000000002")
SLUG = "synapscale-system"
EMAIL = "system@synapscale.invalid"


def membership() -> Membership:
    """The system's membership in its workspace, made where it is missing. Nobody signs in with it, nor holds a token.

    What its calls say is not kept: it may be another workspace's content.
    """
    found = Membership.objects.select_related("user", "workspace").filter(workspace=WORKSPACE_ID, user=USER_ID).first()
    if found is not None:
        return found
    slug = SLUG if not Workspace.objects.filter(slug=SLUG).exists() else f"{SLUG}-{uuid.uuid4().hex[:8]}"
    workspace, _ = Workspace.objects.get_or_create(
        pk=WORKSPACE_ID,
        defaults={"slug": slug, "name": "System", "keeps_api_content": False, "tags_automatically": False},
    )
    email = EMAIL if not User.objects.filter(email=EMAIL).exists() else f"{uuid.uuid4().hex}@synapscale.invalid"
    user, is_new = User.objects.get_or_create(
        pk=USER_ID, defaults={"email": email, "name": "System", "is_active": False}
    )
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return Membership.objects.get_or_create(workspace=workspace, user=user, defaults={"role": Membership.Role.MEMBER})[
        0
    ]
