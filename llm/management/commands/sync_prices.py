from __future__ import annotations

import json
from datetime import UTC, datetime, time
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from llm import price_proposals, price_source, price_sync
from llm.models import PriceProposal
from llm.price_source import Source

HEADERS = ("model", "rate", "for", "ours", "there", "change", "")


def moment(text: str) -> datetime:
    """A date (its midnight, UTC) or a time with an offset."""
    try:
        day, found = parse_date(text), parse_datetime(text)
    except ValueError:
        day = found = None
    if found is not None and "T" in text.upper() and timezone.is_aware(found):
        return found
    if day is not None:
        return datetime.combine(day, time(), UTC)
    raise CommandError(f"--from: give a date or a time with an offset, like 2026-12-01T00:00:00Z, not {text!r}")


class Command(BaseCommand):
    help = (
        "Compares the catalogue with the vendors' prices as the package genai-prices has them, and prints the differences. "
        "Exits 1 when any of them waits for a decision, 0 when none does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=["table", "json"], default="table")
        parser.add_argument(
            "--propose", action="store_true", help="Let the differences wait for approval in the back office."
        )
        parser.add_argument(
            "--apply",
            action="store_true",
            help="Supersede prices of which no rate moves by more than PRICE_SYNC_MAX_CHANGE_PERCENT; propose the others.",
        )
        parser.add_argument("--from", dest="effective_from", help="From when on, with --apply: a date (UTC) or a time.")
        parser.add_argument(
            "--add-new",
            nargs="*",
            metavar="PROVIDER/NAME",
            help="Add models of our vendors that the catalogue lacks, or those that are named, as inactive.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        begins = moment(options["effective_from"]) if options["effective_from"] else None
        if begins and not options["apply"]:
            raise CommandError("--from goes with --apply.")
        if begins and begins < timezone.now():
            raise CommandError("--from: prices of the past are history; give a time to come.")
        source = price_source.installed(at=timezone.now())
        report = self._report(source, begins, options)
        report["added"] = [] if options["add_new"] is None else self._add(source, options["add_new"])
        if options["format"] == "json":
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self._print(report)
        if any(row["state"] in ("differs", "waiting") for row in report["differences"]):
            raise SystemExit(1)

    def _report(self, source: Source, begins: datetime | None, options: dict[str, Any]) -> dict[str, Any]:
        at = timezone.now()
        found = price_sync.compare(source, at=begins or at)
        rows = {
            difference.llm.pk: {
                "model": str(difference.llm),
                "state": "differs",
                "effective_from": difference.begins.isoformat() if difference.begins else None,
                "changes": [change.as_json() for change in difference.changes],
            }
            for difference in found.differences
        }
        done: price_proposals.Report | None = None
        if options["propose"] or options["apply"]:
            limit = settings.PRICE_SYNC_MAX_CHANGE_PERCENT if options["apply"] else None
            done = price_proposals.synchronise(source, applies_within=limit, effective_from=begins)
            for state, proposals in (
                ("applied", done.applied),
                ("waiting", done.waiting),
                ("rejected", done.rejected),
            ):
                for proposal in proposals:
                    rows[proposal.llm_id] = _row(proposal, state)
        else:
            for proposal in price_proposals.rejected_before(source, found.differences):
                rows[proposal.llm_id]["state"] = "rejected"
        return {
            "source": source.name,
            "differences": [*rows.values()],
            "agreeing": [str(llm) for llm in found.agreeing],
            "unknown": [str(llm) for llm in found.unknown],
            "inexpressible": {str(llm): problem for llm, problem in found.inexpressible},
            "new": [
                f"{provider}/{listing.key.partition('/')[2]}"
                for provider, listing in price_sync.newcomers(source, at=at)
            ],
            "failed": done.failed if done else [],
        }

    def _add(self, source: Source, wanted: list[str]) -> list[str]:
        listed = {
            f"{provider}/{listing.key.partition('/')[2]}": (provider, listing)
            for provider, listing in price_sync.newcomers(source, at=timezone.now())
        }
        if unknown := [name for name in wanted if name not in listed]:
            raise CommandError(f"Not among the new models that can be added: {', '.join(unknown)}. Nothing was added.")
        added = []
        for name in wanted or listed:
            provider, listing = listed[name]
            try:
                added.append(str(price_proposals.add(listing, provider=provider, source=source)))
            except ValidationError as fault:
                self.stderr.write(f"{name} was not added: {'; '.join(fault.messages)}")
        return added

    def _print(self, report: dict[str, Any]) -> None:
        self.stdout.write(f"Compared with {report['source']}.")
        lines = [
            (
                row["model"],
                change["kind"],
                _place(change, row["effective_from"]),
                change["old"] or "-",
                change["new"],
                "new" if change["percent"] is None else f"{change['percent']} %",
                row["state"],
            )
            for row in report["differences"]
            for change in row["changes"]
        ]
        if lines:
            widths = [max(map(len, column)) for column in zip(HEADERS, *lines, strict=True)]
            for line in (HEADERS, *lines):
                cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
                self.stdout.write("  ".join(cells).rstrip())
        for name in report["unknown"]:
            self.stdout.write(f"{name}: unknown there")
        for name, problem in report["inexpressible"].items():
            self.stdout.write(f"{name}: can't be compared: {problem}")
        for name in report["added"]:
            self.stdout.write(f"{name}: added, inactive")
        for line in report["failed"]:
            self.stdout.write(f"not stored: {line}")
        self.stdout.write(
            f"{len(report['differences'])} differ, {len(report['agreeing'])} agree, {len(report['unknown'])} unknown there, "
            f"{len(report['new'])} new there."
        )


def _row(proposal: PriceProposal, state: str) -> dict[str, Any]:
    begins = proposal.effective_from
    return {
        "model": str(proposal.llm),
        "state": state,
        "effective_from": begins.isoformat() if begins else None,
        "changes": proposal.differences,
    }


def _place(change: dict[str, Any], begins: str | None) -> str:
    parts = [
        f"above {change['above_tokens']} tokens" if change["above_tokens"] else "",
        f"{change['hours']} UTC" if change["hours"] else "",
        f"from {begins[:10]}" if begins else "",
    ]
    return ", ".join(filter(None, parts))
