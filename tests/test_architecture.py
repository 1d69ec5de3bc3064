"""The arrows between apps, for imports and for foreign keys, and a few rules that keep money exact."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.db import models

ROOT = Path(__file__).resolve().parent.parent
APPS = ("workspaces", "llm", "billing", "tagging", "conversations", "analytics", "office")
LEVEL = {
    "common": 0,
    "workspaces": 1,
    "llm": 2,
    "billing": 2,
    "tagging": 2,
    "conversations": 3,
    "analytics": 4,
    "office": 5,
}
OUTSIDE = {"admin", "auth", "contenttypes", "sessions"}
SOURCES = sorted(path for app in (*APPS, "synapscale") for path in (ROOT / app).rglob("*.py"))


def test_imports_point_one_way() -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_foreign_keys_point_one_way() -> None:
    wrong = [
        f"{model._meta.label}.{field.name} -> {field.related_model._meta.label}"
        for model in apps.get_models()
        if model._meta.app_label in LEVEL
        for field in model._meta.get_fields()
        if isinstance(field, models.ForeignKey | models.ManyToManyField)
        and field.related_model._meta.app_label not in OUTSIDE
        and field.related_model._meta.app_label != model._meta.app_label
        and LEVEL[field.related_model._meta.app_label] >= LEVEL[model._meta.app_label]
    ]
    assert wrong == []


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("part", ["api", "admin", "receivers", "management"])
def test_the_edges_of_an_app_are_not_imported_by_another(part: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        for name in _imports(path)
        for app in APPS
        if (name == f"{app}.{part}" or name.startswith(f"{app}.{part}.")) and path.relative_to(ROOT).parts[0] != app
    ]
    assert wrong == []


def test_vendor_sdks_are_imported_by_the_adapters_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        for name in _imports(path)
        if name.partition(".")[0] in {"openai", "anthropic", "google"} and "providers" not in path.parts
    ]
    assert wrong == []


def test_money_rows_are_protected() -> None:
    """No delete may take a row with it that explains money."""
    wrong = [
        f"{model._meta.label}.{field.name}"
        for label in ("billing", "conversations")
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.local_fields
        if isinstance(field, models.ForeignKey) and field.remote_field.on_delete is not models.PROTECT
    ]
    assert wrong == []


def test_no_model_has_a_float() -> None:
    floats = [
        f"{m._meta.label}.{f.name}"
        for m in apps.get_models()
        for f in m._meta.fields
        if isinstance(f, models.FloatField)
    ]
    assert floats == []


def test_only_the_ledger_changes_balances() -> None:
    """``balance=`` and ``seq=`` in an update, or SQL that sets them, stand in billing/ledger.py alone."""
    wrong = []
    for path in SOURCES:
        if path.name == "ledger.py" or "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
                wrong += [f"{path.name}: {kw.arg}" for kw in node.keywords if kw.arg in {"balance", "seq"}]
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "SET balance" in node.value:
                wrong.append(path.name)
    assert wrong == []


def test_arithmetic_on_money_columns_is_scaled() -> None:
    """``F("held") + amount`` would add dollars to pico-dollars: every term is another F or ``usd(...)``."""
    money = {f.name for m in apps.get_models() for f in m._meta.fields if type(f).__name__ in {"UsdField", "RateField"}}

    def is_column(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "F"
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value in money
        )

    def is_scaled(node: ast.AST) -> bool:
        if isinstance(node, ast.BinOp):
            return is_scaled(node.left) and is_scaled(node.right)
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"F", "usd"}

    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.BinOp) and (is_column(node.left) or is_column(node.right)) and not is_scaled(node)
    ]
    assert wrong == []


def test_files_do_one_thing() -> None:
    long = {
        str(path.relative_to(ROOT)): count for path in SOURCES if (count := len(path.read_text().splitlines())) > 400
    }
    assert {name: count for name, count in long.items() if "migrations" not in name} == {}
