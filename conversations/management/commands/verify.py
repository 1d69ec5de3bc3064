from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from conversations.verification import verify


class Command(BaseCommand):
    help = "Five checks of an installation, a line each, and a score. Exits 1 when one fails."

    def handle(self, *args: Any, **options: Any) -> None:
        checks = verify()
        for check in checks:
            mark = self.style.SUCCESS("ok    ") if check.passed else self.style.ERROR("FAILED")
            self.stdout.write(
                f"{mark} {check.name}: {check.summary if check.passed else '; '.join(check.problems[:10])}"
            )
        score = sum(check.passed for check in checks)
        self.stdout.write(f"verify: {score}/{len(checks)}")
        if score < len(checks):
            raise SystemExit(1)
