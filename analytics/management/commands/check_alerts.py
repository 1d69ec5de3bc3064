"""Looks at the alert rules and sends what is due: ``manage.py check_alerts``. The server does so by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand

from analytics.alerting.delivering import deliver_due
from analytics.alerting.evaluating import evaluate_due


class Command(BaseCommand):
    help = (
        "Look at the alert rules, fire and resolve, and send what is due. Safe at any time and any number of times. Exits "
        "1 when a rule could not be looked at."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = evaluate_due()
        for word, alerts in (("fired", found.fired), ("resolved", found.resolved)):
            for alert in alerts:
                self.stdout.write(f"{word}: {alert.severity}: {alert.explanation}")
        for rule in found.failed:
            self.stdout.write(f"failed: rule {rule.pk} ({rule.name}); see the log")
        self.stdout.write(f"check_alerts: {found}; {asyncio.run(deliver_due())}")
        if found.failed:
            raise SystemExit(1)
