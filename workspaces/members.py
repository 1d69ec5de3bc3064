"""Who belongs to a workspace, and the rules about it: an individual workspace has one member, each has an owner."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from synapscale.common.errors import Conflict, Forbidden, NotFound, Unprocessable
from workspaces.models import HAS_ONE_MEMBER, KEEPS_AN_OWNER, Membership, User, Workspace

SLUG_TAKEN = "A workspace with this slug exists already."


@transaction.atomic
def open_workspace(*, owner: User, name: str, slug: str, kind: str) -> Workspace:
    """A new workspace and its first owner. It is born with a wallet, which is prepaid and empty."""
    try:
        with transaction.atomic():
            workspace = Workspace.objects.create(name=name, slug=slug, kind=kind)
    except IntegrityError:
        raise Conflict(SLUG_TAKEN, code="slug_taken", details={"slug": [SLUG_TAKEN]}) from None
    Membership.objects.create(workspace=workspace, user=owner, role=Membership.Role.OWNER)
    return workspace


@transaction.atomic
def add_member(*, workspace: Workspace, email: str, role: str, by: Membership) -> Membership:
    """Add the person with this address; who is not known yet gets an account without a password."""
    Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
    if workspace.kind == Workspace.Kind.INDIVIDUAL:
        raise Unprocessable(HAS_ONE_MEMBER, code="individual_workspace")
    _may_grant(by, role)
    user = User.objects.filter(email=email.lower()).first() or User.objects.create_user(email)
    membership, created = Membership.objects.get_or_create(workspace=workspace, user=user, defaults={"role": role})
    if not created:
        raise Conflict("This person is a member already.", code="already_member")
    return membership


@transaction.atomic
def change_role(*, membership: Membership, role: str, by: Membership) -> Membership:
    """Give a member another role. The last owner stays one."""
    Workspace.objects.select_for_update(no_key=True).get(pk=membership.workspace_id)
    membership = _as_it_is_now(membership)
    _may_grant(by, role)
    _may_touch(by, membership)
    if membership.role == Membership.Role.OWNER and role != Membership.Role.OWNER:
        _not_last_owner(membership)
    membership.role = role
    membership.save(update_fields=["role"])
    return membership


@transaction.atomic
def remove_member(*, membership: Membership, by: Membership) -> None:
    """Remove a member; their tokens for this workspace are revoked with it. Everybody may leave by themselves."""
    Workspace.objects.select_for_update(no_key=True).get(pk=membership.workspace_id)
    membership = _as_it_is_now(membership)
    if membership.pk != by.pk:
        _may_touch(by, membership)
    if membership.role == Membership.Role.OWNER:
        _not_last_owner(membership)
    membership.delete()


def _as_it_is_now(membership: Membership) -> Membership:
    """The row under the workspace's lock: it may have changed since it was read."""
    found = Membership.objects.select_related("user").filter(pk=membership.pk).first()
    if found is None:
        raise NotFound("Not found.")
    return found


def _may_grant(by: Membership, role: str) -> None:
    if role == Membership.Role.OWNER and by.role != Membership.Role.OWNER:
        raise Forbidden("Only an owner can make somebody an owner.")


def _may_touch(by: Membership, member: Membership) -> None:
    if not by.may_administer:
        raise Forbidden("Only an admin or owner of the workspace may do this.")
    if member.role == Membership.Role.OWNER and by.role != Membership.Role.OWNER:
        raise Forbidden("Only an owner can change an owner.")


def _not_last_owner(member: Membership) -> None:
    if member.is_last_owner:
        raise Conflict(KEEPS_AN_OWNER, code="last_owner")
