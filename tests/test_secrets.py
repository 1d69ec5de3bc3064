"""Secrets of every kind are planted, used on every way through the product, and then looked for in all that it said or
wrote: log lines and tracebacks, answers and headers, pages of the back office, every column of every table, the spool,
what commands print, and the standard outputs.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from conversations.models import Conversation
from llm import own_keys
from llm.models import LLM, ProviderConnection
from tests.admin.rows import Office, our_models
from tests.api.asking import make_conversation, messages_of
from tests.catalogue import make_llm
from tests.conftest import Server
from tests.hosting import make_connection
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn, answer, fault, refusal
from tests.witnesses import Evidence, Planted, Visitor, Web, disguises, dump, listening, watch_spool
from workspaces import variables
from workspaces.models import AccessToken, User, UserVariable, Workspace

pytestmark = pytest.mark.fleet
VENDORS = list(own_keys.PROVIDERS)
BROUGHT = ("openai", "anthropic", "google")
"""Providers that Alice and her workspace have keys for."""
ECHO = "You sent {key}, and that is wrong."
PROMPT_PLACES = (
    r"answer (GET|POST) /api/v1/conversations/[^/]+/messages|table messages\.content"
    r"|page /admin/conversations/message/[^/]+/change/"
)


@dataclass(frozen=True, repr=False)
class Run:
    web: Web
    evidence: Evidence
    planted: Planted
    provider: StandIn
    cast: Cast
    models: dict[str, LLM]
    capsys: pytest.CaptureFixture[str]

    def ask(
        self, person: Person, chat: Conversation, model: str, prompt: str = "Hello", **body: Any
    ) -> httpx2.Response:
        headers = {"Idempotency-Key": body.pop("key")} if "key" in body else {}
        asked = {"content": prompt, "llm": str(self.models[model]), **body}
        return self.web(person, f"POST {messages_of(chat)}", asked, **headers)

    def compatible(self, person: Person, name: str, prompt: str = "Hello", **body: Any) -> list[httpx2.Response]:
        """The same question in both protocols."""
        turns = [{"role": "user", "content": prompt}]
        asked = {"model": str(self.models[name]), "max_tokens": 20, "messages": turns, **body}
        return [self.web(person, f"POST {path}", asked) for path in ("/v1/chat/completions", "/v1/messages")]

    def check(self) -> None:
        """No secret is anywhere, with all the tables read and what the commands print."""
        self.evidence.add("output", "".join(self.capsys.readouterr()))
        for path in ("metrics", "readyz"):
            self.evidence.add(f"answer GET /{path}", Client().get(f"/{path}").content.decode())
        for command in ("rotate_keys", "audit_ledger", "sweep_holds", "reconcile_usage", "tick"):
            call_command(command)
            self.evidence.add(f"command {command}", "".join(self.capsys.readouterr()))
        dump(self.evidence)
        assert self.evidence.kinds() >= {"log", "answer", "header", "table", "output", "command"}
        assert self.planted.found(self.evidence) == {}


@pytest.fixture
def run(
    server: Server,
    cast: Cast,
    house_keys: StandIn,
    audited: None,
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """The house has keys, Alice and her workspace brought theirs, and everybody has money."""
    evidence, planted = Evidence(), Planted()
    for name in VENDORS:
        settings.PROVIDERS[name]["api_key"] = planted(f"house {name}")
    settings.MASTER_KEYS = [f"one:{planted('master key')}", f"two:{planted('older master key')}"]
    settings.SPOOL_DIR = tmp_path / "spool"
    planted("secret key", settings.SECRET_KEY)
    for person in cast:
        planted(f"token of {person.user.name}", person.token)
    for owner, kind in ((cast.alice.user, "own"), (cast.alice.workspace, "workspace")):
        for name in BROUGHT:
            own_keys.set_key(owner=owner, provider=name, key=planted(f"{kind} {name}"))
    fund(cast.alice.workspace, "5")
    fund(cast.charlie.workspace, "5")
    models = {name: make_llm(name) for name in VENDORS}
    lab = make_connection(house_keys, key=planted("private host"))
    models["private"] = make_llm("private", "lab/llama", connection=lab)
    watch_spool(evidence, settings.SPOOL_DIR, monkeypatch)
    with listening(evidence):
        yield Run(Web(server.url, evidence), evidence, planted, house_keys, cast, models, capsys)


# --- The ways -----------------------------------------------------------------------------------------------------------


def test_calls_of_every_vendor_on_every_kind_of_key(run: Run) -> None:
    """Plain, streamed, replayed, and in both protocols; with prompts that are kept, and one that is not."""
    for person in run.cast:  # on his own keys, on the workspace's, on the house's
        chat, name = make_conversation(person, title="Talk"), person.user.name
        for model in run.models:
            prompt = run.planted(f"prompt of {name} to {model}", allowed=PROMPT_PLACES)
            assert run.ask(person, chat, model, prompt).status_code == 201
            assert run.ask(person, chat, model, prompt, stream=True).status_code == 200
        for stream in (False, True):
            assert run.ask(person, chat, "openai", "Once", key="once", stream=stream).status_code in {200, 201}
        run.web(person, f"GET {messages_of(chat)}")
    Workspace.objects.filter(pk=run.cast.charlie.workspace.pk).update(keeps_api_content=False)
    for stream in (False, True):
        prompt = run.planted(f"prompt that is not kept {stream}")
        for response in run.compatible(run.cast.charlie, "anthropic", prompt, stream=stream):
            assert response.status_code == 200
    for path in ("models", "key", "dashboard/billing/subscription", "nowhere"):
        run.web(run.cast.alice, f"GET /v1/{path}")

    called_with = [f"{kind} {name}" for kind in ("own", "workspace") for name in BROUGHT]
    called_with += ["private host", *(f"house {name}" for name in VENDORS)]
    assert {request.key for request in run.provider.requests} == {run.planted.secrets[name] for name in called_with}
    run.check()
    assert run.evidence.of_kind("spool")


@pytest.mark.parametrize("model", ["openai", "anthropic", "google", "grok", "private"])
def test_providers_that_repeat_the_key_in_what_they_say_is_wrong(run: Run, model: str) -> None:
    """Before a stream and within it, on an own key and on the workspace's or the house's, and told again."""
    family = model if model in ("anthropic", "google") else "openai"
    for person in (run.cast.alice, run.cast.bob):
        chat = make_conversation(person)
        for status in (400, 401, 403, 429, 500):
            for stream in (False, True):
                run.provider.script(refusal(status, vendor=family, message=ECHO))
                for _ in range(2):
                    response = run.ask(person, chat, model, stream=stream, key=f"{status} {stream}")
                assert response.status_code == 200 if stream else response.status_code >= 400
        run.provider.script(*[refusal(401, vendor=family, message=ECHO)] * 2)
        assert [response.is_error for response in run.compatible(person, model)] == [True, True]
    for key in {request.key for request in run.provider.requests}:
        said = {"type": "error", "error": {"type": "api_error", "message": ECHO.replace("{key}", key)}}
        run.provider.script(fault("error_event", after=3, error=said))
        run.ask(run.cast.alice, make_conversation(run.cast.alice), model, stream=True)
    run.check()


def test_keys_that_are_set_replaced_tried_and_deleted(run: Run) -> None:
    alice = run.cast.alice
    for kind, root in (("own", "user-variables"), ("workspace", f"workspaces/{alice.workspace.pk}")):
        one = f"{root}/api-keys/openai"
        run.web(alice, f"PUT {one}", {"key": run.planted(f"replaced {kind} key")})
        assert run.web(alice, f"POST {one}", {"key": run.planted(f"next {kind} key")}).status_code == 200
        run.web(alice, f"PATCH {one}", {"expires_at": "2099-01-01T00:00:00Z"})
        for behaviour in (answer(), refusal(401, message=ECHO), refusal(500, message=ECHO)):
            run.provider.script(behaviour)
            assert run.web(alice, f"POST {one}/test", {}).status_code == 200
        secret = {"category": "secret", "name": "HOOK", "value": run.planted(f"{kind} secret")}
        several = root if kind == "own" else f"{root}/variables"
        for _ in range(2):  # the second is a conflict
            run.web(alice, f"POST {several}", secret)
        for path in (one, f"{root}/api-keys", f"{root}/api-keys/providers", several):
            assert run.web(alice, f"GET {path}").status_code == 200
        assert run.web(alice, f"DELETE {one}").status_code == 204
    run.check()


def test_keys_that_no_request_can_carry(run: Run) -> None:
    """They can't be set by the API; somebody may have set one otherwise. Libraries complain of them, and quote them."""
    alice = run.cast.alice
    for name, text in (("grok", "\r\nEvil-Header: forged"), ("deepseek", "ümlaut")):
        value = f"sk-{text}-{run.planted(f'unsendable {name}')}"
        variables.set_secret(owner=alice.user, category="api_key", name=name, value=value)
        for stream in (False, True):
            run.ask(alice, make_conversation(alice), name, stream=stream)
        assert run.web(alice, f"POST user-variables/api-keys/{name}/test", {}).json()["ok"] is False
    assert run.provider.requests == []
    run.check()


def test_a_key_in_a_field_that_is_not_for_it(run: Run) -> None:
    """What is wrong is told, but not what was there."""
    alice, chat, key = run.cast.alice, make_conversation(run.cast.alice), run.planted("misplaced key")
    one, space = "user-variables/api-keys/openai", f"workspaces/{alice.workspace.pk}"
    wrong: list[tuple[str, Any]] = [
        *((f"PUT {one}", {"key": text}) for text in ([key], {"text": key}, f"{key} {key}", f"{key}\u00e9")),
        *((f"PUT {one}", {"key": "sk-right-0123456789", field: key}) for field in ("expires_at", "is_active", key)),
        *((f"PATCH {one}", {field: key}) for field in ("key", "expires_at", "is_active")),
        ("POST user-variables", {"category": key, "name": "A", "value": "x"}),
        ("POST access-tokens", {"name": "A", "scopes": [key]}),
        ("PATCH me", {"allows_paid_fallback": key}),
        (f"PATCH {space}", {"default_model": key}),
        (f"POST {space}/members", {"email": "x@example.org", "role": key}),
        ("POST agents", {"name": "A", "llm": key}),
        ("POST conversations", {"agent": key}),
        *(
            (f"POST {messages_of(chat)}", {"content": "Hello", "llm": str(run.models["grok"]), field: value})
            for field, value in (
                *((name, key) for name in ("llm", "role", "stream", "temperature", "max_tokens", "tool_choice", key)),
                ("stop", {"a": key}),
                ("attachments", [{"type": key}]),
            )
        ),
    ]
    for request, body in wrong:
        assert run.web(alice, request, body).status_code in {400, 422}, (request, body)
    for field in ("model", "temperature", "tool_choice", "api_key"):
        assert [response.is_error for response in run.compatible(alice, "grok", **{field: key})] == [True, True]
    assert run.provider.requests == []
    run.check()


def test_failures_that_nobody_foresaw_where_a_key_is_at_hand(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 500 with a traceback in the log, and in the traceback what the code that failed was given."""
    alice, chat = run.cast.alice, make_conversation(run.cast.alice)

    def collapse(*args: Any, **fields: Any) -> Any:
        raise RuntimeError(f"collapsed over {args} {fields}")

    async def collapse_over(request: Any, credentials: Any, **fields: Any) -> Any:
        raise RuntimeError(f"collapsed over {credentials}")

    with monkeypatch.context() as patch:
        patch.setattr("workspaces.crypto.os.urandom", collapse)
        key = {"key": run.planted("key that was not stored")}
        assert run.web(alice, "PUT user-variables/api-keys/openai", key).status_code == 500
    with monkeypatch.context() as patch:
        patch.setattr("conversations.offers.policy.should_charge", collapse)
        assert run.ask(alice, chat, "openai").status_code == 500
        assert [response.status_code for response in run.compatible(alice, "openai")] == [500, 500]
    with monkeypatch.context() as patch:
        patch.setattr("llm.client.complete", collapse_over)
        assert run.ask(alice, chat, "openai").status_code == 502
        assert run.web(alice, "POST user-variables/api-keys/openai/test", {}).json()["ok"] is False
    tracebacks = [line for line in run.evidence.of_kind("log") if b"Traceback" in line and b"collapsed over" in line]
    assert len(tracebacks) == 6
    run.check()


def test_tokens_are_in_the_answer_that_issues_them_and_nowhere_else(run: Run) -> None:
    alice = run.cast.alice
    made = run.web(alice, "POST access-tokens", {"name": "new"}).json()
    run.planted("token that was made", made["token"], allowed="answer POST /api/v1/access-tokens")
    rotate = f"access-tokens/{made['id']}/rotate"
    new = run.web(alice, f"POST {rotate}", {}).json()["token"]
    run.planted("token that replaced it", new, allowed=f"answer POST /api/v1/{rotate}")
    assert run.web(None, "GET me", Authorization=f"Bearer {new}").status_code == 200
    assert run.web(None, "GET me", Authorization=f"Bearer {made['token']}").status_code == 401
    assert run.web(None, "GET me", **{"x-api-key": f"{new}x"}).status_code == 401
    for path in ("access-tokens", "me", "wallet", "billing-events", "llm/models", "llm/providers", "conversations"):
        assert run.web(alice, f"GET {path}").status_code == 200
    for path in ("/api/schema/", "/api/docs/"):
        assert run.web(None, f"GET {path}").status_code == 200
    run.check()


def test_every_page_of_the_back_office(run: Run) -> None:
    """And its forms, filled in rightly and wrongly."""
    alice, prompt = run.cast.alice, run.planted("prompt", allowed=PROMPT_PLACES)
    run.ask(alice, make_conversation(alice), "openai", prompt, key="one")
    run.provider.script(refusal(401, message=ECHO))
    run.ask(alice, make_conversation(alice), "openai", prompt)
    password = run.planted("password")
    User.objects.create_superuser("root@example.org", password)
    visitor = Visitor(Client(), run.evidence)
    for typed in (f"{password}!", password):
        visitor.post("/admin/login/?next=/admin/", {"username": "root@example.org", "password": typed})
    office = Office(visitor.client)

    def fill_in(model: Any, wrong: dict[str, Any], right: dict[str, Any]) -> None:
        assert visitor.post(office.url(model, "add"), {**right, **wrong}).status_code == 200
        assert visitor.post(office.url(model, "add"), right).status_code == 302
        row = model.objects.latest("created_at")
        assert visitor.post(office.url(model, "change", row.pk), {**right, **wrong}).status_code == 200

    key = {"category": "api_key", "name": "llama", "user": alice.user.pk, "value": run.planted("key typed here")}
    fill_in(UserVariable, {"expires_at_0": "never"}, key)
    host = {"slug": "web", "name": "Web", "base_url": "https://models.example.org/v1", "key": run.planted("host's key")}
    fill_in(ProviderConnection, {"base_url": "http://169.254.169.254/v1"}, host)
    lab = ProviderConnection.objects.get(slug="lab")
    for behaviour in (answer(), refusal(401, message=ECHO), refusal(500, message=ECHO)):
        run.provider.script(behaviour)
        assert visitor.get(f"/admin/llm/providerconnection/{lab.pk}/models/").status_code == 200
    for model in our_models():
        visitor.get(office.url(model, "changelist"))
        visitor.get(office.url(model, "add"))
        for row in model._default_manager.order_by("-pk")[:10]:
            assert visitor.get(office.url(model, "change", row.pk)).status_code == 200
            visitor.get(office.url(model, "history", row.pk))
    run.check()
    assert len(run.evidence.of_kind("page")) > 100


# --- The search itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["log", "quiet log", "traceback", "answer", "text", "json", "bytes", "spool", "print"])
def test_a_secret_that_is_let_out_is_found(run: Run, settings: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Or the tests above would prove nothing."""
    alice, secret = run.cast.alice, run.planted.secrets["own openai"]
    chat = make_conversation(alice)
    match way:
        case "log":
            logging.getLogger("anybody.at.all").debug("calling with %s", secret)
        case "quiet log":
            logging.getLogger("uvicorn").info("GET /?key=%s", secret)
        case "traceback":
            monkeypatch.setattr("llm.types.Credentials.__repr__", lambda self: f"Credentials({self.api_key})")

            async def collapse(request: Any, credentials: Any, **fields: Any) -> Any:
                raise RuntimeError(f"collapsed over {credentials}")

            monkeypatch.setattr("llm.client.complete", collapse)
            run.ask(alice, chat, "openai")
        case "answer":
            Conversation.objects.filter(pk=chat.pk).update(title=secret)
            run.web(alice, f"GET conversations/{chat.pk}")
            Conversation.objects.filter(pk=chat.pk).update(title="")
        case "text":
            AccessToken.objects.filter(user=alice.user).update(name=f"for {secret}")
        case "json":
            Conversation.objects.filter(pk=chat.pk).update(settings={"key": [secret]})
        case "bytes":
            UserVariable.objects.filter(user=alice.user).update(ciphertext=b"\x00\xff" + secret.encode())
        case "spool":
            settings.SPOOL_DIR.mkdir()
            (settings.SPOOL_DIR / "left.draft").write_text(secret)
            run.ask(alice, chat, "openai")
        case "print":
            print(secret)
    run.evidence.add("output", "".join(run.capsys.readouterr()))
    dump(run.evidence)
    (places,) = run.planted.found(run.evidence).values()
    assert {re.split(r"[ .]", place)[0] for place in places} == {
        {
            "quiet log": "log",
            "traceback": "log",
            "text": "table",
            "json": "table",
            "bytes": "table",
            "print": "output",
        }.get(way, way)
    }


@pytest.mark.parametrize("shift", [b"", b"a", b"ab", b"abc"])
def test_a_secret_in_disguise_is_found(shift: bytes) -> None:
    secret, evidence = "sk-live-own/openai-7f3a9c51d2", Evidence()
    for what in (
        base64.b64encode(shift + secret.encode() + b"tail"),
        (shift + secret.encode()).hex(),
        f"?key={secret.replace('/', '%2F')}",
        secret.upper(),
    ):
        evidence.pieces.clear()
        evidence.add("somewhere", what)
        assert evidence.places(secret) == {"somewhere"}
    evidence.add("elsewhere", b"sk-live-other")
    assert evidence.places(secret) == {"somewhere"}
    assert all(len(form) > 16 for form in disguises(secret))


def test_all_tables_are_read(run: Run) -> None:
    dump(run.evidence)
    read = {where.removeprefix("table ").partition(".")[0] for where, _ in run.evidence.pieces}
    assert read <= set(connection.introspection.table_names())
    assert {"users", "access_tokens", "user_variables", "provider_connections", "wallets", "django_migrations"} <= read
