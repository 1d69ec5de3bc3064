"""The cast: Alice owns a workspace, Bob is her colleague, Charlie is a stranger with a workspace of his own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from auditlog.context import disable_auditlog
from django.db import transaction
from django.test import Client

from billing import ledger
from synapscale.common.models import new_id
from workspaces.models import AccessToken, Membership, User, Workspace


@dataclass(frozen=True)
class Person:
    """Somebody with a role in a workspace and a token for it."""

    user: User
    workspace: Workspace
    membership: Membership
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def get(self, path: str, **query: Any) -> Any:
        return Client().get(f"/api/v1/{path}", query, headers=self.headers)

    def post(self, path: str, data: Any = None, **headers: str) -> Any:
        return self._send("post", path, data, headers)

    def patch(self, path: str, data: Any = None) -> Any:
        return self._send("patch", path, data, {})

    def put(self, path: str, data: Any = None) -> Any:
        return self._send("put", path, data, {})

    def delete(self, path: str) -> Any:
        return self._send("delete", path, None, {})

    def _send(self, method: str, path: str, data: Any, headers: dict[str, str]) -> Any:
        body = data if isinstance(data, str) else json.dumps({} if data is None else data)
        call = getattr(Client(), method)
        return call(f"/api/v1/{path}", body, content_type="application/json", headers={**self.headers, **headers})


@dataclass(frozen=True)
class Cast:
    alice: Person
    bob: Person
    charlie: Person

    def __iter__(self) -> Any:
        return iter((self.alice, self.bob, self.charlie))


def make_workspace(slug: str, **fields: Any) -> Workspace:
    fields.setdefault("kind", Workspace.Kind.COLLABORATIVE)
    return Workspace.objects.create(slug=slug, name=slug.title(), **fields)


def join(workspace: Workspace, name: str, role: str) -> Person:
    user = User.objects.filter(email=f"{name}@example.org").first()
    user = user or User.objects.create_user(f"{name}@example.org", name=name.title())
    membership = Membership.objects.create(workspace=workspace, user=user, role=role)
    _, raw = AccessToken.issue(user=user, workspace=workspace, name=f"{name}'s token")
    return Person(user=user, workspace=workspace, membership=membership, token=raw)


@transaction.atomic
@disable_auditlog()
def make_cast() -> Cast:
    """Nobody's doing, so the audit log has nothing of it."""
    acme, rival = make_workspace("acme"), make_workspace("rival")
    return Cast(
        alice=join(acme, "alice", Membership.Role.OWNER),
        bob=join(acme, "bob", Membership.Role.MEMBER),
        charlie=join(rival, "charlie", Membership.Role.OWNER),
    )


def fund(workspace: Workspace, amount: str) -> None:
    ledger.credit(workspace=workspace, amount=Decimal(amount), reference=f"test:{new_id()}")
