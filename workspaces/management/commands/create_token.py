"""Prints a new access token and nothing else, so that a script can capture it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from workspaces import model_names
from workspaces.models import AccessToken, Membership, Scope, User, Workspace

MAX_DAYS = 36_500


class Command(BaseCommand):
    help = "Issue an access token for a member of a workspace and print it. It can't be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, metavar="EMAIL")
        parser.add_argument("--workspace", required=True, metavar="SLUG")
        parser.add_argument("--name", required=True, help="What the token is for.")
        parser.add_argument("--scopes", help=f"Some of {','.join(Scope.values)}, with commas between; otherwise all.")
        parser.add_argument("--expires-in", type=int, metavar="DAYS", help="Otherwise it never expires.")
        parser.add_argument("--allowed-models", help="Each “provider/name”, with commas between; otherwise all.")

    def handle(self, *args: Any, user: str, workspace: str, name: str, **options: Any) -> None:
        owner = User.objects.filter(email=user.lower(), is_active=True).first()
        if owner is None:
            raise CommandError(f"There is no active user {user}.")
        space = Workspace.objects.filter(slug=workspace).first()
        if space is None:
            raise CommandError(f"There is no workspace {workspace}.")
        if not Membership.objects.filter(user=owner, workspace=space).exists():
            raise CommandError(f"{user} is not a member of {workspace}.")
        if not name.strip() or len(name) > 100:
            raise CommandError("A token's name has 1 to 100 characters.")
        rules = {
            **_scopes(options["scopes"]),
            **_lifetime(options["expires_in"]),
            **_models(options["allowed_models"]),
        }
        _, raw = AccessToken.issue(user=owner, workspace=space, name=name, **rules)
        self.stdout.write(raw)


def _scopes(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    asked = _parts(text)
    if wrong := [scope for scope in asked if scope not in Scope.values]:
        raise CommandError(f"There is no scope {', '.join(wrong)}; there are {', '.join(Scope.values)}.")
    if not asked:
        raise CommandError("A token without a scope can do nothing: give one or more.")
    return {"scopes": [scope for scope in Scope.values if scope in asked]}


def _lifetime(days: int | None) -> dict[str, Any]:
    if days is None:
        return {}
    if not 1 <= days <= MAX_DAYS:
        raise CommandError(f"A token expires in 1 to {MAX_DAYS} days.")
    return {"expires_at": timezone.now() + timedelta(days=days)}


def _models(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    names = _parts(text)
    if wrong := model_names.unknown(names):
        raise CommandError(f"There is no model {', '.join(wrong)}.")
    if not names:
        raise CommandError("Give one or more models, or leave the option out.")
    return {"allowed_models": names}


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
