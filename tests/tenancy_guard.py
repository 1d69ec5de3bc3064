"""A guard that no cluster is needed for: SQL that touches a tenant table without its workspace fails the test.

On a sharded database such a statement would visit every shard, and anywhere it may show one tenant another's rows.

It reads SQL by patterns, not by a grammar. A table counts as named when its ``workspace_id`` is compared with a
value, or with the ``workspace_id`` of a table that is named itself (a join alone names nobody's). What it can't see:
a condition that an OR makes optional.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

from django.apps import apps

from synapscale.common.models import TenantModel
from synapscale.common.tenancy import is_fleet_wide

_is_on = False
_NO_ROWS = re.compile(
    r"\s*(?:CREATE|ALTER|DROP|PRAGMA|SAVEPOINT|RELEASE|ROLLBACK|BEGIN|COMMIT|SET|EXPLAIN|TRUNCATE|LOCK)\b",
    re.IGNORECASE,
)
_KEYWORDS = (
    "where|set|on|using|inner|left|right|full|cross|natural|join|group|order|having|limit|offset|union|except|"
    "intersect|select|values|returning|as|for|window|default"
)
_COLUMN = r'"?(?P<{0}alias>\w+)"?\."?(?P<{0}column>workspace_id|id)"?'
_EQUALITY = re.compile(
    r"(?P<not>NOT\s*\(+\s*)?" + _COLUMN.format("") + r"\s*(?P<operator>=|IN\b)\s*\(?\s*"
    r'(?:"?(?P<other_alias>[A-Za-z_]\w*)"?\."?(?P<other_column>\w+)"?|(?P<value>\S))',
    re.IGNORECASE,
)
_REVERSED = re.compile(r"(?:%s|%\(\w+\)s|\?|'[^']*')\s*=\s*\(?\s*" + _COLUMN.format(""), re.IGNORECASE)
_BARE = re.compile(r'(?<![.\w"])"?workspace_id"?\s*(?:=|IN\b)', re.IGNORECASE)
_ASSIGNMENTS = re.compile(r"\bSET\b.*?(?=\bWHERE\b|\bRETURNING\b|\bFROM\b|$)", re.IGNORECASE | re.DOTALL)
_STRING = re.compile(r"'(?:[^']|'')*'")


class MissingWorkspace(AssertionError):
    pass


def switch(is_on: bool) -> None:
    global _is_on
    _is_on = is_on


def data_tables() -> set[str]:
    """DATA, the third kind beside CONTROL and LOCAL: the tables of all tenant models."""
    return {model._meta.db_table for model in apps.get_models() if issubclass(model, TenantModel)}


@cache
def _table_use() -> re.Pattern[str]:
    """A tenant table where rows are read or written, and its alias."""
    names = "|".join(sorted(data_tables()))
    return re.compile(
        r'(?P<verb>\b(?:FROM|JOIN|UPDATE|INTO)\b|,)\s*(?:ONLY\s+)?(?:"?\w+"?\.)?"?\b'
        rf'(?P<table>{names})\b(?!"?\s*\.)"?'
        rf'(?:\s+(?:AS\s+)?"?(?P<alias>(?!(?:{_KEYWORDS})\b)[A-Za-z]\w*)"?)?',
        re.IGNORECASE,
    )


@lru_cache(maxsize=4096)
def missing(sql: str) -> list[str]:
    """The tenant tables that ``sql`` uses without naming their workspace."""
    if _NO_ROWS.match(sql):
        return []
    sql = _STRING.sub("''", sql)
    # The new value of a workspace_id says nothing about the rows that get it.
    conditions = (
        _ASSIGNMENTS.sub(lambda found: " " * len(found[0]), sql) if re.search(r"\bUPDATE\b", sql, re.I) else sql
    )
    uses = [use for use in _table_use().finditer(sql) if use["verb"] != "," or _lists_tables(sql, use.start())]
    named, joined = _conditions(conditions)
    for bare in _BARE.finditer(conditions):
        # Without a table's name before it, it belongs to the only table there is: the last one mentioned.
        before = [use for use in uses if use.end() <= bare.start()]
        if before:
            named.add(_alias(before[-1]))
    changed = True
    while changed:
        more = {one for pair in joined if pair & named for one in pair}
        changed = not more <= named
        named |= more
    found = []
    for index, use in enumerate(uses):
        if use["verb"].upper() == "INTO":
            is_named = "workspace_id" in sql[use.end() : sql.find(")", use.end())]
        else:
            # Under the same name in two halves of a UNION, each must say its own.
            again = next((later.start() for later in uses[index + 1 :] if _alias(later) == _alias(use)), len(sql))
            own, own_joins = _conditions(conditions[use.start() : again])
            is_bare = bool(_BARE.search(conditions[use.start() : again]))
            is_named = _alias(use) in named and (
                _alias(use) in own or is_bare or any(_alias(use) in pair for pair in own_joins)
            )
        if not is_named:
            found.append(use["table"])
    return found


def _alias(use: re.Match[str]) -> str:
    return str(use["alias"] or use["table"])


def _conditions(sql: str) -> tuple[set[str], set[frozenset[str]]]:
    """What is compared with a value, and what with what else: ``messages`` stands for its ``workspace_id``,
    ``workspaces.id`` for another column."""

    def node(alias: str, column: str) -> str:
        return alias if column.lower() == "workspace_id" else f"{alias}.{column}"

    named: set[str] = set()
    joined: set[frozenset[str]] = set()
    for found in _EQUALITY.finditer(sql):
        if found["not"]:
            continue
        one = node(found["alias"], found["column"])
        if found["other_alias"] is None:
            named.add(one)
        else:
            joined.add(frozenset({one, node(found["other_alias"], found["other_column"])}))
    named |= {node(found["alias"], found["column"]) for found in _REVERSED.finditer(sql)}
    return named, joined


def _lists_tables(sql: str, comma: int) -> bool:
    """Whether this comma stands between the tables of a FROM, and not between columns."""
    depth = 0
    for word in _words_backwards(sql[:comma]):
        if word == ")":
            depth += 1
        elif word == "(":
            if depth == 0:
                return False
            depth -= 1
        elif depth == 0 and word.upper() in {"FROM", "USING"}:
            return True
        elif depth == 0 and word.upper() in {"SELECT", "BY", "SET", "WHERE", "VALUES", "ON", "RETURNING"}:
            return False
    return False


def _words_backwards(sql: str) -> Iterator[str]:
    return reversed(re.findall(r"\w+|[()]", sql))  # type: ignore[return-value]


def wrapper(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    text = sql if isinstance(sql, str) else str(sql)
    if _is_on and not is_fleet_wide() and (tables := missing(text)):
        raise MissingWorkspace(f"{', '.join(tables)} without workspace_id: {text}")
    return execute(sql, params, many, context)
