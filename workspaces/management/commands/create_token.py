"""Prints a new access token and nothing else, so that a script can capture it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from workspaces.models import AccessToken, Membership, User, Workspace


class Command(BaseCommand):
    help = "Issue an access token for a member of a workspace and print it. It can't be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, metavar="EMAIL")
        parser.add_argument("--workspace", required=True, metavar="SLUG")
        parser.add_argument("--name", required=True, help="What the token is for.")

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
        _, raw = AccessToken.issue(user=owner, workspace=space, name=name)
        self.stdout.write(raw)
