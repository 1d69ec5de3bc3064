from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand

from conversations import feedback_alerts


class Command(BaseCommand):
    help = (
        "Tell workspaces by e-mail of negative feedback that waits for a review. Safe at any time and any number of "
        "times. Exits 1 when a mail could not be sent."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        report = asyncio.run(feedback_alerts.send_due())
        self.stdout.write(f"send_feedback_alerts: {report}")
        if report.failed:
            raise SystemExit(1)
