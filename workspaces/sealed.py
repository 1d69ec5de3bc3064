"""Tables of sealed secrets, and moving their rows to the newest master key.

An app that has such a table registers it in ``AppConfig.ready``: a model with the columns ``ciphertext`` and ``key_id``,
written by ``crypto.encrypt``, and a function that says what a row's ciphertext is bound to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import models
from django.db.models import QuerySet

from workspaces import crypto

_ATTEMPTS = 3
_BATCH = 100


@dataclass(frozen=True, slots=True)
class SealedTable:
    model: type[models.Model]
    bound_to: Callable[[Any], str]

    @property
    def name(self) -> str:
        return self.model._meta.db_table

    @property
    def rows(self) -> QuerySet[Any]:
        return self.model._base_manager.all()

    def outdated(self) -> QuerySet[Any]:
        """The rows that need another than the newest master key."""
        return self.rows.filter(ciphertext__isnull=False).exclude(key_id=crypto.current_key_id())


@dataclass(slots=True)
class Report:
    found: int = 0
    resealed: int = 0
    changed: int = 0
    """Somebody else wrote or deleted them meanwhile."""
    unreadable: list[str] = field(default_factory=list)


_tables: dict[str, SealedTable] = {}


def register(model: type[models.Model], *, bound_to: Callable[[Any], str]) -> None:
    table = SealedTable(model, bound_to)
    _tables[table.name] = table


def tables() -> list[SealedTable]:
    return [_tables[name] for name in sorted(_tables)]


def reseal(*, is_dry_run: bool = False, tell: Callable[[str], None] = lambda line: None) -> Report:
    """Encrypt every secret again that is not under the newest master key, each row in one short transaction.

    A row that changes meanwhile is not overwritten. May be run again any time; what is done stays done.
    """
    report = Report()
    for table in tables():
        total = table.outdated().count()
        tell(f"{table.name}: {total} on an older master key")
        for done, pk in enumerate(_outdated_ids(table), start=1):
            report.found += 1
            try:
                if _reseal_row(table, pk, is_dry_run):
                    report.resealed += 1
                else:
                    report.changed += 1
            except crypto.CannotDecrypt as error:
                report.unreadable.append(f"{table.name} {pk}")
                tell(f"{table.name} {pk}: {error}")
            if done % _BATCH == 0:
                tell(f"{table.name}: {done} of {total}")
    return report


def _outdated_ids(table: SealedTable) -> Iterator[Any]:
    """In the order of their ids, so that what can't be read is passed once; rows written meanwhile come with their turn."""
    last = None
    while True:
        rows = table.outdated() if last is None else table.outdated().filter(pk__gt=last)
        ids = list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH])
        yield from ids
        if len(ids) < _BATCH:
            return
        last = ids[-1]


def _reseal_row(table: SealedTable, pk: Any, is_dry_run: bool) -> bool:
    """Whether this row is (or in a dry run could be) under the newest key by our doing. Raises CannotDecrypt."""
    for _ in range(_ATTEMPTS):
        row = table.outdated().filter(pk=pk).first()
        if row is None:
            return False
        old, bound_to = bytes(row.ciphertext), table.bound_to(row)
        secret = crypto.decrypt(old, key_id=row.key_id, bound_to=bound_to)
        if is_dry_run:
            return True
        key_id, ciphertext = crypto.encrypt(secret, bound_to=bound_to)
        unchanged = table.rows.filter(pk=pk, key_id=row.key_id, ciphertext=old)
        if unchanged.update(key_id=key_id, ciphertext=ciphertext):
            return True
    return False
