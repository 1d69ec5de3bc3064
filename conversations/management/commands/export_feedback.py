from __future__ import annotations

import os
from datetime import date, datetime, time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from conversations import feedback_export
from conversations.models import MessageFeedback
from workspaces.models import Workspace


class Command(BaseCommand):
    help = (
        "Export a workspace's feedback, a JSON object a line, the oldest first. What was asked, answered and written is in "
        "it only where the workspace lets exports contain it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", required=True, help="Its slug.")
        parser.add_argument(
            "--output", help="The file to write, readable by its owner only; otherwise standard output."
        )
        parser.add_argument("--since", type=date.fromisoformat, help="From this day on, by the clock of UTC.")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']}.")
        rows = MessageFeedback.objects.filter(workspace=workspace)
        if options["since"]:
            since = timezone.make_aware(datetime.combine(options["since"], time()))
            rows = rows.filter(created_at__gte=since)
        lines = feedback_export.lines(rows, workspace=workspace)
        if not options["output"]:
            for batch in lines:
                self.stdout.write(batch.decode(), ending="")
            return
        try:
            descriptor = os.open(options["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise CommandError(f"{options['output']} can't be written: {error.strerror}.") from None
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(lines)
