from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from conversations.audit import audit


class Command(BaseCommand):
    help = "Prove the books: check every invariant of money and usage on one snapshot. Exits 1 when one is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print the findings as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = audit()
        broken = [finding for finding in findings if not finding.holds]
        if options["json"]:
            self.stdout.write(json.dumps({"clean": not broken, "findings": [asdict(f) for f in findings]}, indent=2))
        else:
            for finding in findings:
                mark = self.style.SUCCESS("ok    ") if finding.holds else self.style.ERROR("BROKEN")
                self.stdout.write(f"{mark} {finding.name}: {finding.rule}")
                if not finding.holds:
                    self.stdout.write(f"       {finding.count} rows: {', '.join(finding.examples)}")
            self.stdout.write(
                f"audit_ledger: clean, {len(findings)} invariants hold"
                if not broken
                else f"audit_ledger: {len(broken)} of {len(findings)} invariants are broken"
            )
        if broken:
            raise SystemExit(1)
