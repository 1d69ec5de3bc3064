"""Rotating master keys: everything moves to the new key, nothing is lost or overwritten, and the old key can go."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command

from llm import connections
from llm.models import ProviderConnection
from tests.people import Cast, Person
from workspaces import crypto, sealed, variables
from workspaces.crypto import CannotDecrypt
from workspaces.models import UserVariable

pytestmark = pytest.mark.django_db
OLD, NEW, OLDER = "old:" + "o" * 32, "new:" + "n" * 32, "older:" + "x" * 32


@pytest.fixture(autouse=True)
def _old_key(settings: Any) -> None:
    settings.MASTER_KEYS = [OLD]


def run(*options: str) -> tuple[list[str], int]:
    """What the command prints of users' variables, and how it ends."""
    out, code = io.StringIO(), 0
    try:
        call_command("rotate_keys", *options, stdout=out)
    except SystemExit as end:
        code = int(end.code or 0)
    first, *lines = out.getvalue().splitlines()
    assert first == "provider_connections: 0 on an older master key"
    lines.remove("webhook_endpoints: 0 on an older master key")
    return lines, code


def keep(person: Person, name: str = "openai", value: str = "sk-one-0123456789") -> UserVariable:
    return variables.create(owner=person.user, category="api_key", name=name, value=value)


def again(row: UserVariable) -> UserVariable:
    return UserVariable.objects.get(pk=row.pk)


def test_all_secrets_move_to_the_new_key_and_the_old_one_can_go(cast: Cast, settings: Any) -> None:
    own = keep(cast.alice)
    shared = variables.create(owner=cast.alice.workspace, category="general", name="A", value="two")
    settings.MASTER_KEYS = [NEW, OLD]
    current = keep(cast.bob)
    assert (again(own).get_value(), again(shared).get_value()) == ("sk-one-0123456789", "two")

    assert run() == (
        ["user_variables: 2 on an older master key",
         "rotate_keys: 2 found, 2 re-encrypted, 0 changed meanwhile, 0 unreadable"],
        0,
    )  # fmt: skip

    assert set(UserVariable.objects.values_list("key_id", flat=True)) == {"new"}
    assert again(own).updated_at == own.updated_at  # nobody changed it
    assert bytes(again(current).ciphertext) == bytes(current.ciphertext)
    settings.MASTER_KEYS = [NEW]
    assert (again(own).get_value(), again(shared).get_value()) == ("sk-one-0123456789", "two")
    assert run()[0][-1] == "rotate_keys: 0 found, 0 re-encrypted, 0 changed meanwhile, 0 unreadable"


def test_without_rotating_the_old_secrets_go_with_the_old_key(alice: Person, settings: Any) -> None:
    row = keep(alice)
    settings.MASTER_KEYS = [NEW]
    with pytest.raises(CannotDecrypt):
        again(row).get_value()


def test_a_dry_run_changes_nothing(alice: Person, settings: Any) -> None:
    row = keep(alice)
    settings.MASTER_KEYS = [NEW, OLD]
    lines, code = run("--dry-run")
    assert (lines[-1], code) == (
        "rotate_keys: 1 found, 1 could be re-encrypted, 0 changed meanwhile, 0 unreadable",
        0,
    )
    assert (again(row).key_id, bytes(again(row).ciphertext)) == ("old", bytes(row.ciphertext))


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_what_can_not_be_read_is_named_and_the_rest_is_done(cast: Cast, settings: Any, options: tuple[str]) -> None:
    settings.MASTER_KEYS = [OLDER]
    lost = keep(cast.alice, "grok")
    settings.MASTER_KEYS = [OLD]
    stolen = keep(cast.alice)
    own = keep(cast.bob)
    UserVariable.objects.filter(pk=own.pk).update(ciphertext=stolen.ciphertext)
    settings.MASTER_KEYS = [NEW, OLD]

    lines, code = run(*options)

    assert code == 1
    assert lines[1:-1] == [
        f"user_variables {lost.pk}: The master key of this secret is not configured.",
        f"user_variables {own.pk}: The secret does not belong to this row.",
    ]
    assert lines[-1].startswith("rotate_keys: 3 found, 1 ")
    assert lines[-1].endswith(", 0 changed meanwhile, 2 unreadable")
    assert [again(row).key_id for row in (lost, own)] == ["older", "old"]
    assert again(stolen).get_value() == "sk-one-0123456789"
    assert "sk-one" not in "".join(lines)


def test_a_ciphertext_copied_into_another_row_is_useless_before_and_after(cast: Cast, settings: Any) -> None:
    stolen, own = keep(cast.alice), keep(cast.bob)
    settings.MASTER_KEYS = [NEW, OLD]
    run()
    stolen = again(stolen)
    UserVariable.objects.filter(pk=own.pk).update(ciphertext=stolen.ciphertext, key_id=stolen.key_id)
    with pytest.raises(CannotDecrypt):
        again(own).get_value()


def test_a_value_that_is_set_meanwhile_is_not_overwritten(
    alice: Person, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that has not been restarted, so still under the old key: the next try takes the new value along."""
    row = keep(alice)
    seals = []

    def encrypt_late(secret: str, *, bound_to: str) -> tuple[str, bytes]:
        seals.append(secret)
        if len(seals) == 1:
            settings.MASTER_KEYS = [OLD, NEW]
            variables.set_secret(owner=alice.user, category="api_key", name="openai", value="sk-two")
            settings.MASTER_KEYS = [NEW, OLD]
        return seal(secret, bound_to=bound_to)

    seal = crypto.encrypt
    settings.MASTER_KEYS = [NEW, OLD]
    monkeypatch.setattr(sealed.crypto, "encrypt", encrypt_late)
    lines, _ = run()
    assert lines[-1] == "rotate_keys: 1 found, 1 re-encrypted, 0 changed meanwhile, 0 unreadable"
    assert (again(row).key_id, again(row).get_value()) == ("new", "sk-two")


@pytest.mark.parametrize("change", ["set again", "deleted"])
def test_a_row_that_is_done_or_gone_meanwhile_is_passed(
    alice: Person, settings: Any, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    row = keep(alice)
    settings.MASTER_KEYS = [NEW, OLD]
    read = crypto.decrypt

    def decrypt_late(*args: Any, **kwargs: Any) -> str:
        if change == "deleted":
            UserVariable.objects.all().delete()
        else:
            variables.change(variable=again(row), changes={"value": "sk-two"})
        return read(*args, **kwargs)

    monkeypatch.setattr(sealed.crypto, "decrypt", decrypt_late)
    lines, code = run()
    monkeypatch.undo()
    settings.MASTER_KEYS = [NEW, OLD]
    assert (lines[-1], code) == ("rotate_keys: 1 found, 0 re-encrypted, 1 changed meanwhile, 0 unreadable", 0)
    assert [left.get_value() for left in UserVariable.objects.all()] == ([] if change == "deleted" else ["sk-two"])


def test_many_are_told_of_by_the_hundred(alice: Person, settings: Any) -> None:
    for number in range(201):
        keep(alice, f"name {number}")
    settings.MASTER_KEYS = [NEW, OLD]
    lines, _ = run()
    assert lines == [
        "user_variables: 201 on an older master key",
        "user_variables: 100 of 201",
        "user_variables: 200 of 201",
        "rotate_keys: 201 found, 201 re-encrypted, 0 changed meanwhile, 0 unreadable",
    ]
    assert not UserVariable.objects.exclude(key_id="new").exists()


def test_keys_of_private_hosts_move_too(db: None, settings: Any) -> None:
    settings.MASTER_KEYS = [OLD]
    host = ProviderConnection.objects.create(slug="berlin", name="Berlin", base_url="https://models.example/v1")
    connections.set_key(host, "sk-berlin-0123456789")
    host.save()
    settings.MASTER_KEYS = [NEW, OLD]
    call_command("rotate_keys", stdout=io.StringIO())
    settings.MASTER_KEYS = [NEW]
    host.refresh_from_db()
    assert connections.credentials(host).api_key == "sk-berlin-0123456789"


def test_the_tables_with_secrets_are_registered() -> None:
    with_secrets = {
        model._meta.db_table
        for model in apps.get_models()
        if {"ciphertext", "key_id"} <= {field.column for field in model._meta.concrete_fields}
    }
    assert with_secrets == {table.name for table in sealed.tables()}
