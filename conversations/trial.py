"""The trial installation: a workspace with a little money, an agent on the offline demo model, and ways to get in.

Made by ``setup --demo`` for a laptop. What it makes up (a password, a token) is kept beside the database, readable by
its owner only, so that the next start can show it again.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext_noop

from billing import ledger
from conversations.models import Agent, Conversation
from llm.models import LLM
from synapscale.common import stored_words
from workspaces.models import AccessToken, Membership, User, Workspace
from workspaces.tokens import digest

CREDIT = gettext_noop("Trial credit")
stored_words.register("billing.BillingEvent.description", CREDIT, is_shared=True)
EMAIL = "demo@synapscale.local"
SLUG = "demo"
OPENING_CREDIT = Decimal("5.00")


@dataclass(frozen=True, slots=True)
class Trial:
    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    conversation_id: str


def prepare() -> Trial:
    """Make what is missing; the second time everything is found as it was."""
    kept = _read()
    password = kept.get("password") or secrets.token_urlsafe(9)
    user = User.objects.filter(email=EMAIL).first() or User.objects.create_superuser(EMAIL, password, name="Demo")
    if not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    workspace, _ = Workspace.objects.get_or_create(
        slug=SLUG, defaults={"name": "Demo workspace", "kind": Workspace.Kind.COLLABORATIVE}
    )
    Membership.objects.get_or_create(workspace=workspace, user=user, defaults={"role": Membership.Role.OWNER})
    ledger.credit(workspace=workspace, amount=OPENING_CREDIT, reference="demo:opening", description=CREDIT)
    agent, _ = Agent.objects.get_or_create(
        workspace=workspace,
        name="Demo assistant",
        defaults={
            "llm": LLM.objects.get(provider="demo", name="demo-1"),
            "system_prompt": "You are a helpful assistant.",
            "is_default": True,
            "created_by": user,
        },
    )
    # One that can be used: the first may have been deleted or archived by whoever tried that out.
    conversations = Conversation.objects.filter(
        workspace=workspace, user=user, agent=agent, status=Conversation.Status.ACTIVE, kind=Conversation.Kind.CHAT
    )
    conversation = conversations.order_by("pk").first() or Conversation.objects.create(
        workspace=workspace, user=user, agent=agent, title="First conversation"
    )
    trial = Trial(
        email=EMAIL, password=password, token=_token(user, workspace, kept), conversation_id=str(conversation.pk)
    )
    _write(trial)
    return trial


def _token(user: User, workspace: Workspace, kept: dict[str, str]) -> str:
    raw = kept.get("token", "")
    known = AccessToken.objects.filter(workspace=workspace, user=user, digest=digest(raw)).first() if raw else None
    return raw if known and known.is_valid else AccessToken.issue(user=user, workspace=workspace, name="Trial")[1]


def _path() -> Path:
    return Path(settings.VAR_DIR) / "trial.json"


def _read() -> dict[str, str]:
    try:
        kept = json.loads(_path().read_text())
    except (FileNotFoundError, ValueError):  # none yet, or torn: a new password and token are made
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(trial: Trial) -> None:
    """Whole or not at all, and readable by its owner only from the first moment."""
    _path().parent.mkdir(parents=True, exist_ok=True)
    draft = _path().with_suffix(f".{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(asdict(trial), indent=2))
    draft.rename(_path())
