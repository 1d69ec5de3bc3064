"""/user-variables/api-keys and /workspaces/{id}/api-keys: provider keys go in, are kept, and never come out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from llm.keys import credentials_for
from llm.models import LLM
from tests.api.asking import assert_invalid, error_of
from tests.people import Cast, Person
from tests.providers.standins import StandIn
from workspaces import variables
from workspaces.models import AccessToken, User, UserVariable, Workspace

KEY, OTHER = "sk-own-0123456789-abcd", "sk-new-9876543210-wxyz"
KINDS = ["user", "workspace"]
PROVIDERS = ["openai", "anthropic", "google", "grok", "deepseek", "llama"]


def keys(person: Person, kind: str, tail: str = "") -> str:
    root = "user-variables" if kind == "user" else f"workspaces/{person.workspace.pk}"
    return f"{root}/api-keys{tail}"


def owner(person: Person, kind: str) -> User | Workspace:
    return person.user if kind == "user" else person.workspace


def stored(person: Person, kind: str, provider: str = "openai") -> UserVariable:
    return variables.variables_of(owner(person, kind)).get(category="api_key", name=provider)


def text(moment: Any) -> str:
    return str(moment.isoformat().replace("+00:00", "Z"))


def in_a_day() -> str:
    return text(timezone.now() + timedelta(days=1))


def has_expired(row: UserVariable) -> None:
    UserVariable.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


# --- Setting and replacing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["put", "post"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_set_and_replaced_whole(alice: Person, kind: str, method: str) -> None:
    one, ends = keys(alice, kind, "/openai"), in_a_day()
    send = getattr(alice, method)
    response = send(one, {"key": KEY, "expires_at": ends, "is_active": False})
    row = stored(alice, kind)
    assert response.status_code == 201, response.content
    assert response.json() == {
        "provider": "openai",
        "masked": "••••abcd",
        "is_active": False,
        "is_expired": False,
        "expires_at": ends,
        "created_at": text(row.created_at),
        "updated_at": text(row.updated_at),
        "source": kind,
    }
    assert (row.get_value(), row.category) == (KEY, "api_key")
    assert (row.user, row.workspace) == ((alice.user, None) if kind == "user" else (None, alice.workspace))

    replaced = send(one, {"key": OTHER})
    assert replaced.status_code == 200
    again = stored(alice, kind)
    assert (again.pk, again.get_value()) == (row.pk, OTHER)
    body = replaced.json()
    assert (body["masked"], body["is_active"], body["expires_at"]) == ("••••wxyz", True, None)
    assert body["created_at"] == text(row.created_at)
    assert parse_datetime(body["updated_at"]) > row.updated_at
    assert alice.get(one).json() == body
    assert alice.get(keys(alice, kind)).json() == {"results": [body]}


@pytest.mark.parametrize("kind", KINDS)
def test_setting_a_key_drops_nothing_else(cast: Cast, kind: str) -> None:
    alice = cast.alice
    for provider in ("grok", "openai", "anthropic"):
        assert alice.put(keys(alice, kind, f"/{provider}"), {"key": f"sk-{provider}-0123456789"}).status_code == 201
    variables.create(owner=owner(alice, kind), category="secret", name="openai", value="not a key")
    for other in (cast.bob, cast.charlie):
        other.put(keys(other, "user", "/openai"), {"key": "sk-somebody-elses"})
    before = {row.pk: row.get_value() for row in UserVariable.objects.all()}
    mine = stored(alice, kind).pk

    assert alice.put(keys(alice, kind, "/openai"), {"key": OTHER}).status_code == 200

    assert {row.pk: row.get_value() for row in UserVariable.objects.all()} == {**before, mine: OTHER}
    # In the order of the providers, and nothing but keys.
    listed = alice.get(keys(alice, kind)).json()["results"]
    assert [row["provider"] for row in listed] == ["openai", "anthropic", "grok"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_vendor_takes_keys(alice: Person, provider: str) -> None:
    assert alice.put(keys(alice, "user", f"/{provider}"), {"key": KEY}).status_code == 201
    llm = LLM(provider=provider, name="any")
    assert credentials_for(user=alice.user, workspace=alice.workspace, llm=llm).api_key == KEY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("provider", ["demo", "private", "nobody", "OPENAI", "openai%20", KEY])
def test_nobody_else_does(alice: Person, kind: str, provider: str) -> None:
    one = keys(alice, kind, f"/{provider}")
    for response in (
        alice.get(one),
        alice.put(one, {"key": KEY}),
        alice.post(one, {"key": KEY}),
        alice.patch(one, {"is_active": True}),
        alice.delete(one),
    ):
        error = error_of(response, 404, "unknown_provider")
        assert error["message"] == f"There is no such provider that takes keys, only {', '.join(PROVIDERS)}."
        assert KEY not in response.content.decode()
    assert not UserVariable.objects.exists()


# --- What is a key ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("12345678", "12345678"),
        ("x" * 500, "x" * 500),
        (f"  {KEY}\n", KEY),
        (f"\t{'x' * 500} ", "x" * 500),
        ("!~\"'\\{}%&=?/", "!~\"'\\{}%&=?/"),
    ],
)
def test_a_key_is_kept_as_it_is_pasted_but_for_space_around_it(alice: Person, key: str, kept: str) -> None:
    assert alice.put(keys(alice, "user", "/openai"), {"key": key}).status_code == 201
    assert stored(alice, "user").get_value() == kept


@pytest.mark.parametrize(
    "key",
    [
        "", "   ", "1234567", " 1234567 ", "x" * 501, "sk-with space-0123", "sk-line\nbreak-0123", "sk-tab\tinside-012",
        "sk-ümlaut-0123456789", "sk-\u200bzero-width-0123", "sk-\x7f-0123456789", "🔑" * 8,
        12345678, 1.5e300, True, None, ["sk-in-a-list-0123"], {"sk-in-an-object": "sk-0123456789"},
    ],
)  # fmt: skip
def test_what_can_not_be_a_key_is_refused_and_not_repeated(alice: Person, key: Any) -> None:
    response = alice.put(keys(alice, "user", "/openai"), {"key": key})
    assert_invalid(response, "key")
    expected = (
        "This field may not be null."
        if key is None
        else "A key is 8 to 500 printable ASCII characters without a space."
    )
    assert response.json()["error"]["details"] == {"key": [expected]}
    assert not UserVariable.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "key"),
        ({"is_active": True}, "key"),
        ({"key": KEY, "expires_at": KEY}, "expires_at"),
        ({"key": KEY, "is_active": KEY}, "is_active"),
        ({"key": KEY, "is_active": None}, "is_active"),
        ({"key": KEY, "is_active": 1}, "is_active"),
        ({"key": KEY, "is_active": "yes"}, "is_active"),
        ({"key": KEY, "api_key": KEY}, "api_key"),
        ({"key": KEY, "provider": "openai"}, "provider"),
        ({"value": KEY}, "value"),
    ],
)
def test_the_field_that_is_wrong_is_named_and_the_key_is_not_repeated(
    alice: Person, body: dict[str, Any], field: str
) -> None:
    response = alice.put(keys(alice, "user", "/openai"), body)
    assert_invalid(response, field)
    assert KEY not in response.content.decode()
    assert not UserVariable.objects.exists()


def test_a_key_does_not_expire_in_the_past(alice: Person) -> None:
    one = keys(alice, "user", "/openai")
    for moment in (timezone.now(), timezone.now() - timedelta(days=1)):
        response = alice.put(one, {"key": KEY, "expires_at": text(moment)})
        assert_invalid(response, "expires_at")
        assert response.json()["error"]["details"] == {"expires_at": ["This has passed."]}
    assert not UserVariable.objects.exists()
    alice.put(one, {"key": KEY})
    assert_invalid(alice.patch(one, {"expires_at": text(timezone.now())}), "expires_at")
    assert stored(alice, "user").expires_at is None


# --- Changing and deleting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_switched_off_and_on_and_given_an_end(alice: Person, kind: str) -> None:
    one, ends = keys(alice, kind, "/openai"), in_a_day()
    alice.put(one, {"key": KEY})
    ciphertext = bytes(stored(alice, kind).ciphertext)
    assert alice.patch(one, {"is_active": False}).json()["is_active"] is False
    body = alice.patch(one, {"expires_at": ends}).json()
    assert (body["is_active"], body["expires_at"]) == (False, ends)
    assert alice.patch(one, {}).json() == {**body, "updated_at": text(stored(alice, kind).updated_at)}
    body = alice.patch(one, {"is_active": True, "expires_at": None}).json()
    assert (body["is_active"], body["expires_at"], body["masked"]) == (True, None, "••••abcd")
    assert bytes(stored(alice, kind).ciphertext) == ciphertext
    assert_invalid(alice.patch(one, {"key": OTHER}), "key")
    assert stored(alice, kind).get_value() == KEY


def test_a_key_that_has_expired_says_so(alice: Person) -> None:
    one = keys(alice, "user", "/openai")
    alice.put(one, {"key": KEY})
    has_expired(stored(alice, "user"))
    assert alice.get(one).json()["is_expired"] is True
    assert alice.get(keys(alice, "user")).json()["results"][0]["is_expired"] is True
    assert alice.patch(one, {"expires_at": None}).json()["is_expired"] is False


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("user", "You have no key of your own for openai."),
        ("workspace", "The workspace has no key of its own for openai."),
    ],
)
def test_deleting(alice: Person, kind: str, message: str) -> None:
    one = keys(alice, kind, "/openai")
    alice.put(one, {"key": KEY})
    alice.put(keys(alice, kind, "/grok"), {"key": KEY})
    assert alice.delete(one).status_code == 204
    assert [row["provider"] for row in alice.get(keys(alice, kind)).json()["results"]] == ["grok"]
    for response in (
        alice.get(one),
        alice.patch(one, {"is_active": True}),
        alice.patch(one, {"nonsense": 1}),
        alice.delete(one),
    ):
        assert error_of(response, 404, "not_found")["message"] == message


# --- Which providers --------------------------------------------------------------------------------------------------


def states(person: Person, kind: str = "user") -> dict[str, tuple[Any, ...]]:
    response = person.get(keys(person, kind, "/providers"))
    assert response.status_code == 200, response.content
    return {
        row["name"]: (row["has_own_key"], row["has_workspace_key"], row["has_house_key"], row["key_source"])
        for row in response.json()["results"]
    }


def test_providers(alice: Person, settings: Any) -> None:
    settings.PROVIDERS = {name: {"api_key": "", "base_url": ""} for name in PROVIDERS}
    settings.PROVIDERS["grok"]["api_key"] = "xai-house-0123456789"
    response = alice.get("user-variables/api-keys/providers")
    labels = ["OpenAI", "Anthropic", "Google", "xAI Grok", "DeepSeek", "Meta Llama"]
    assert response.json() == {
        "results": [
            {
                "name": name,
                "display_name": label,
                "has_own_key": False,
                "has_workspace_key": False,
                "has_house_key": name == "grok",
                "key_source": "global" if name == "grok" else None,
            }
            for name, label in zip(PROVIDERS, labels, strict=True)
        ]
    }
    assert "xai-house" not in response.content.decode()


def test_whose_key_a_call_would_run_on(cast: Cast, house_keys: StandIn) -> None:
    alice, bob = cast.alice, cast.bob
    alice.put(keys(alice, "workspace", "/openai"), {"key": KEY})
    alice.put(keys(alice, "user", "/openai"), {"key": KEY})
    alice.put(keys(alice, "user", "/grok"), {"key": KEY})
    for kind in KINDS:
        assert states(alice, kind) == {
            "openai": (True, True, True, "user"),
            "anthropic": (False, False, True, "global"),
            "google": (False, False, True, "global"),
            "grok": (True, False, True, "user"),
            "deepseek": (False, False, True, "global"),
            "llama": (False, False, True, "global"),
        }
    assert states(bob)["openai"] == (False, True, True, "workspace")
    assert states(cast.charlie)["openai"] == (False, False, True, "global")

    alice.patch(keys(alice, "user", "/openai"), {"is_active": False})
    assert states(alice)["openai"] == (False, True, True, "workspace")
    has_expired(stored(alice, "workspace"))
    assert states(alice)["openai"] == (False, False, True, "global")
    alice.patch("me", {"allows_paid_fallback": False})
    assert states(alice)["openai"] == (False, False, True, None)
    assert states(alice)["grok"] == (True, False, True, "user")
    assert states(bob)["openai"] == (False, False, True, "global")


# --- Who may ----------------------------------------------------------------------------------------------------------

CALLS: list[tuple[str, str, Any]] = [
    ("get", "", None),
    ("get", "/providers", None),
    ("get", "/openai", None),
    ("put", "/openai", {"key": OTHER}),
    ("post", "/openai", {"key": OTHER}),
    ("patch", "/openai", {"is_active": False}),
    ("delete", "/openai", None),
]


def send(person: Person, method: str, path: str, body: Any) -> Any:
    return getattr(person, method)(path, *([] if body is None else [body]))


def test_a_workspaces_keys_are_its_admins(cast: Cast, victor: Person, dora: Person) -> None:
    alice = cast.alice
    alice.put(keys(alice, "workspace", "/openai"), {"key": KEY})
    for method, tail, body in CALLS:
        path = keys(alice, "workspace", tail)
        for person in (cast.bob, victor):
            error_of(send(person, method, path, body), 403, "permission_denied")
        assert error_of(send(cast.charlie, method, path, body), 404, "not_found")["message"] == "Not found."
    assert stored(alice, "workspace").get_value() == KEY
    assert dora.put(keys(alice, "workspace", "/openai"), {"key": OTHER}).status_code == 200
    assert stored(alice, "workspace").get_value() == OTHER
    assert dora.delete(keys(alice, "workspace", "/openai")).status_code == 204


def test_everybodys_own_keys_are_his_alone(cast: Cast, victor: Person) -> None:
    people = (*cast, victor)
    for number, person in enumerate(people):
        assert person.put(keys(person, "user", "/openai"), {"key": f"sk-own-0123456789-{number:04}"}).status_code == 201
    for number, person in enumerate(people):
        assert [row["masked"] for row in person.get("user-variables/api-keys").json()["results"]] == [
            f"••••{number:04}"
        ]
    cast.bob.delete(keys(cast.bob, "user", "/openai"))
    assert UserVariable.objects.count() == 3
    assert stored(cast.alice, "user").get_value() == "sk-own-0123456789-0000"


@pytest.mark.parametrize(("kind", "sufficient"), [("user", "keys"), ("workspace", "admin")])
def test_the_scope_it_takes(alice: Person, kind: str, sufficient: str) -> None:
    variables.set_secret(owner=owner(alice, kind), category="api_key", name="openai", value=KEY)
    tokens = AccessToken.objects.filter(user=alice.user)
    tokens.update(scopes=[scope for scope in ("chat", "read", "billing", "keys", "admin") if scope != sufficient])
    for method, tail, body in CALLS:
        error = error_of(send(alice, method, keys(alice, kind, tail), body), 403, "scope_missing")
        assert error["details"] == {"scopes": [sufficient]}
    tokens.update(scopes=[sufficient])
    for method, tail, body in CALLS:
        assert send(alice, method, keys(alice, kind, tail), body).status_code in {200, 201, 204}


def test_a_parameter_that_nobody_reads_is_refused(alice: Person) -> None:
    for path in ("user-variables/api-keys", "user-variables/api-keys/providers", "user-variables/api-keys/openai"):
        assert_invalid(alice.get(path, is_active="true"), "is_active")


def test_with_and_without_a_slash(alice: Person) -> None:
    assert alice.put("user-variables/api-keys/openai/", {"key": KEY}).status_code == 201
    for path in ("user-variables/api-keys", "user-variables/api-keys/providers", "user-variables/api-keys/openai"):
        assert alice.get(path).json() == alice.get(f"{path}/").json()
