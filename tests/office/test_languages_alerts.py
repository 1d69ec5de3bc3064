"""Alerts, their rules and the roles of staff, in the language of whoever reads them; programs read English as ever."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone, translation

from analytics.alerting import conditions, evaluating, explanations, payloads, rules
from analytics.models import Alert, AlertDelivery, AlertRule
from office.roles import NAMES, ROLES
from synapscale.common.history import called
from tests.admin.rows import Office
from tests.analytics.alerting import alerts, deliveries, fire, make_rule
from tests.analytics.usage import Call, write
from tests.catalogue import make_llm
from tests.people import Cast
from workspaces.models import User

pytestmark = pytest.mark.django_db

HOUR = datetime(2026, 11, 25, 14, tzinfo=UTC)
USER = {"user": "bob@example.org", "workspace": "Acme"}
WINDOW: dict[str, Any] = {"value": "1234.5", "threshold": "1000", "calls": 1, "seconds": 86_400}
COMPARED = {
    "condition": "anomaly", "subject": {"name": "Acme"}, "hour": HOUR.isoformat(), "is_under_way": False, "days": 10,
    "threshold": "5", "value": "2", "median": "0.2", "mad": "0.1", "bound": "1.2", "deviation": "0.7413", "floor": "1",
}  # fmt: skip
EXPIRING = {
    "condition": "key_expiry", "subject": {"provider": "private", "owner": "Acme"}, "threshold": "7",
    "expires_at": HOUR.isoformat(),
}  # fmt: skip
SENTENCES = [
    (
        {"condition": "cost", "subject": USER, "of": "cost", **WINDOW},
        "bob@example.org in Acme: the wallet paid $1,234.50 for 1 call of the last 24 hours; more than $1,000.00 is too much.",
        "bob@example.org em Acme: a carteira pagou US$\u00a01.234,50 por 1 chamada das últimas 24 horas; mais de "
        "US$\u00a01.000,00 é demais.",
    ),
    (
        {"condition": "cost", "subject": {}, "of": "provider_cost", **WINDOW, "calls": 1200, "seconds": 172_800},
        "All workspaces: the providers ask $1,234.50 for 1,200 calls of the last 2 days; more than $1,000.00 is too much.",
        "Todos os espaços de trabalho: os provedores cobram US$\u00a01.234,50 por 1.200 chamadas dos últimos 2 dias; mais "
        "de US$\u00a01.000,00 é demais.",
    ),
    (
        {
            "condition": "error_rate", "subject": {"name": "openai/gpt-x"}, "failed": 2, "calls": 21, "seconds": 900,
            "value": "0.0952", "threshold": "0.05",
        },
        "openai/gpt-x: 2 of 21 calls of the last 15 minutes failed, which is 9.52 %; more than 5 % is too much.",
        "openai/gpt-x: 2 de 21 chamadas dos últimos 15 minutos falharam, ou seja, 9,52 %; mais de 5 % é demais.",
    ),
    (
        {
            "condition": "latency", "subject": {"name": "openai"}, "statistic": "p95", "calls": 20, "seconds": 90,
            "value": "5.5", "threshold": "5",
        },
        "openai: the p95 of the time to the whole answer was 5.5 s, of 20 answers of the last 90 seconds; more than 5 s is too "
        "much.",
        "openai: o p95 do tempo até a resposta completa foi de 5,5 s, em 20 respostas dos últimos 90 segundos; mais de 5 s é "
        "demais.",
    ),
    (
        {
            "condition": "latency", "subject": {"name": "openai"}, "statistic": "average", "calls": 1, "seconds": 3600,
            "value": "5.5", "threshold": "5",
        },
        "openai: the average of the time to the whole answer was 5.5 s, of 1 answer of the last 60 minutes; more than 5 s is "
        "too much.",
        "openai: a média do tempo até a resposta completa foi de 5,5 s, em 1 resposta dos últimos 60 minutos; mais de 5 s é "
        "demais.",
    ),
    (
        {
            "condition": "key_expiry", "subject": {"provider": "openai", "owner": "bob@example.org"}, "value": "2.5",
            "threshold": "7", "expires_at": HOUR.isoformat(),
        },
        "OpenAI key of bob@example.org: it expires in 2.5 days, at 2026-11-25 14:00 UTC; calls run without it from then on. 7 "
        "days before is when to replace it.",
        "Chave de OpenAI de bob@example.org: vence em 2,5 dias, em 25/11/2026 14:00 UTC; a partir daí as chamadas são feitas "
        "sem ela. O momento de substituí-la é 7 dias antes.",
    ),
    (
        {
            "condition": "key_expiry", "subject": {"provider": "private", "owner": "Acme"}, "value": "-1",
            "threshold": "7", "expires_at": HOUR.isoformat(),
        },
        "it expired 1 day ago, at 2026-11-25 14:00 UTC",
        "venceu há 1 dia, em 25/11/2026 14:00 UTC",
    ),
    (
        {**EXPIRING, "value": "1", "threshold": "1"},
        "of Acme: it expires in 1 day, at 2026-11-25 14:00 UTC; calls run without it from then on. 1 day before is when to "
        "replace it.",
        "de Acme: vence em 1 dia, em 25/11/2026 14:00 UTC; a partir daí as chamadas são feitas sem ela. O momento de "
        "substituí-la é 1 dia antes.",
    ),
    ({**EXPIRING, "value": "0.5", "threshold": "1.5"}, "expires in 0.5 days", "vence em 0,5 dia,"),
    ({**EXPIRING, "value": "1.5", "threshold": "1.5"}, "1.5 days before is when", "é 1,5 dia antes."),
    ({**EXPIRING, "value": "1234.25"}, "it expires in 1,234.25 days, at", "vence em 1.234,25 dias, em"),
    ({**EXPIRING, "value": "0"}, "it expired 0 days ago", "venceu há 0 dia,"),
    (
        {**COMPARED, "metric": "provider_cost"},
        "Acme: in the hour from 2026-11-25 14:00 UTC on the providers ask $2.00 for its calls. On the 10 days before, the same "
        "hour came to $0.20 in the median, and was $0.10 away from that in the median (MAD). More than $1.20 is unusual: the "
        "median and the larger of 5 × 1.4826 × MAD ($0.7413) and the floor ($1.00).",
        "Acme: na hora a partir de 25/11/2026 14:00 UTC os provedores cobram US$\u00a02,00 pelas chamadas. Nos 10 dias "
        "anteriores, a mesma hora chegou a US$\u00a00,20 na mediana, com um desvio mediano de US$\u00a00,10 em relação a isso "
        "(MAD). Mais de US$\u00a01,20 é incomum: a mediana mais o maior entre 5 × 1,4826 × MAD (US$\u00a00,7413) e o piso "
        "(US$\u00a01,00).",
    ),
    (
        {**COMPARED, "metric": "calls", "is_under_way": True, "value": "1500"},
        "on, so far, it had 1,500 calls.",
        "até agora, houve 1.500 chamadas.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "english", "portuguese"), SENTENCES)
def test_an_explanation_is_said_in_both_languages(facts: dict[str, Any], english: str, portuguese: str) -> None:
    assert english in explanations.explanation(facts)
    with translation.override("pt-br"):
        assert portuguese in explanations.explanation(facts)


def test_every_condition_explains_itself() -> None:
    explained = {facts["condition"] for facts, _english, _portuguese in SENTENCES}
    assert explained == {condition.key for condition in conditions.all_conditions()}
    assert explained == set(explanations._SAYS)


def office_in(language: str) -> Office:
    client = Client()
    client.force_login(User.objects.create_superuser(f"{language}@example.org"))
    client.cookies[django_settings.LANGUAGE_COOKIE_NAME] = language
    return Office(client)


@pytest.fixture
def fired(cast: Cast) -> Alert:
    """By the built-in rule on costs; bob has spent 12 dollars."""
    now = timezone.now()
    write([Call(now - timedelta(minutes=5), cast.bob, make_llm("openai", "dear"), cost=12_000_000)])
    rules.ensure_builtin()
    AlertRule.objects.filter(condition="cost").update(settings={"of": "provider_cost"})
    evaluating.evaluate_due(now=now)
    (alert,) = [one for one in alerts() if one.rule.condition == "cost"]
    return alert


def test_what_is_stored_and_posted_is_english(fired: Alert) -> None:
    assert fired.subject_label == "bob@example.org in Acme"
    assert fired.explanation.startswith(
        "bob@example.org in Acme: the providers ask $12.00 for 1 call of the last 24 hours;"
    )
    with translation.override("pt-br"):
        document = payloads.document("firing", fired, fired.rule, at=fired.fired_at)
        assert document["data"]["alert"]["explanation"] == fired.explanation
        assert document["data"]["alert"]["rule"]["name"] == "A user's cost"
        assert set(document) == {"type", "timestamp", "data"}


def test_an_alert_that_is_seen_again_in_another_language_is_stored_in_english(fired: Alert) -> None:
    with translation.override("pt-br"):
        evaluating.evaluate_due(now=timezone.now() + timedelta(minutes=1))
    (again,) = [one for one in alerts() if one.pk == fired.pk]
    assert again.last_seen_at > fired.last_seen_at
    assert again.explanation == fired.explanation


def test_the_office_tells_it_to_each_in_their_language(fired: Alert) -> None:
    english, portuguese = office_in("en"), office_in("pt-br")
    assert "A user&#x27;s cost" in english.list(Alert).text
    assert "the providers ask $12.00 for 1 call" in english.open(fired).text
    for page in (
        portuguese.list(Alert),
        portuguese.open(fired),
        portuguese.client.get("/admin/"),
        portuguese.client.get(f"/admin/analytics/alert/{fired.pk}/acknowledge/"),
    ):
        assert "Custo de um usuário" in page.text
        assert "bob@example.org em Acme" in page.text
        assert "A user&#x27;s cost" not in page.text
    assert "os provedores cobram US$\u00a012,00 por 1 chamada das últimas 24 horas" in portuguese.open(fired).text
    assert (
        "bob@example.org em Acme: os provedores"
        in portuguese.client.get(f"/admin/analytics/alertrule/{fired.rule_id}/try/").text
    )


def test_an_alert_of_before_is_told_as_it_was_stored(cast: Cast) -> None:
    old = fire(cast.alice.workspace, make_rule(name="Latency"))
    assert old.facts is None
    page = office_in("pt-br").open(old).text
    assert "Two is more than one." in page
    assert "Latência" not in page  # the name is the operators' own


def test_facts_of_another_version_are_told_as_they_were_stored(cast: Cast) -> None:
    newer = fire(cast.alice.workspace, facts={"condition": "unheard-of", "subject": {"planet": "Mars"}})
    assert (newer.told, newer.subject_name) == ("Two is more than one.", "Acme")


WRONG: tuple[Any, ...] = (None, "x", "", -3, [], ["name"], {"name": 5}, {"of": []})
"""What another version may keep where this one keeps something else."""


@pytest.mark.parametrize(("facts", "english", "portuguese"), SENTENCES)
def test_facts_that_lack_one_or_have_another_explain_nothing(
    facts: dict[str, Any], english: str, portuguese: str
) -> None:
    for key in facts:
        assert explanations.explanation({name: one for name, one in facts.items() if name != key}) == "", key
        for wrong in WRONG:
            assert isinstance(explanations.explanation({**facts, key: wrong}), str), (key, wrong)
    for key in facts["subject"]:
        without = {name: one for name, one in facts["subject"].items() if name != key}
        for subject in (
            {**without, "planet": "Mars"},
            *({**facts["subject"], key: wrong} for wrong in (None, 5, [], {})),
        ):
            other = {**facts, "subject": subject}
            assert (explanations.label(other), explanations.explanation(other)) == ("", "")


@pytest.mark.parametrize("facts", ["x", 5, ["condition"], {"condition": []}, {"condition": "cost"}])
def test_facts_of_another_shape_explain_nothing(facts: Any) -> None:
    assert (explanations.label(facts), explanations.explanation(facts)) == ("", "")


@pytest.mark.parametrize(("facts", "english", "portuguese"), SENTENCES)
def test_an_alert_is_told_by_its_facts_only_where_they_say_what_is_stored(
    facts: dict[str, Any], english: str, portuguese: str, django_assert_num_queries: Any
) -> None:
    """A server of an earlier version beside this one writes a new explanation, and leaves the facts of the one before."""
    stored = explanations.explanation(facts)
    alert, stale = Alert(facts=facts, explanation=stored), Alert(facts=facts, explanation="Three is more than one.")
    read = set(facts) - {"is_under_way"}  # which is read as a truth, whatever it is
    broken = [Alert(facts={**facts, key: wrong}, explanation=stored) for key in read for wrong in WRONG]
    with translation.override("pt-br"), django_assert_num_queries(0):
        assert portuguese in alert.told
        assert stale.told == "Three is more than one."
        assert {one.told for one in broken} == {stored}
    assert (alert.told, stale.told) == (stored, "Three is more than one.")


def test_a_window_of_a_fraction_is_told_as_it_is_stored() -> None:
    alert = Alert(facts={**SENTENCES[0][0], "seconds": 90.5}, explanation=SENTENCES[0][1])
    with translation.override("pt-br"):
        assert alert.told == alert.explanation


def test_pages_of_an_alert_open_whatever_its_facts_are(fired: Alert) -> None:
    rows = Alert.objects.filter(workspace_id=fired.workspace_id, pk=fired.pk)
    portuguese = office_in("pt-br")
    for key in fired.facts:
        rows.update(facts={name: one for name, one in fired.facts.items() if name != key})
        page = portuguese.open(fired)
        assert (page.status_code, fired.explanation in page.text) == (200, True), key
        assert portuguese.list(Alert).status_code == 200


def test_rules_are_shown_and_found_by_their_translated_names(db: None) -> None:
    rules.ensure_builtin()
    mine = make_rule(name="Custo meu")
    portuguese = office_in("pt-br")
    page = portuguese.list(AlertRule).text
    for name in ("Custo de um usuário", "Taxa de erro", "Latência", "Chaves de provedor que vencem", "Uso anômalo"):
        assert name in page
    found = portuguese.list(AlertRule, q="custo").context["cl"].queryset
    assert {rule.name for rule in found} == {mine.name, "A user's cost"}
    builtin = AlertRule.objects.get(condition="cost", is_builtin=True)
    shown = portuguese.open(builtin).text
    assert "Custo de um usuário" in shown
    assert "Quanto custam as chamadas" in shown
    assert portuguese.save(builtin, threshold="12,5").status_code == 302
    builtin.refresh_from_db()
    assert (builtin.name, builtin.threshold) == ("A user's cost", Decimal("12.5"))


# --- Mails ------------------------------------------------------------------------------------------------------------


def mailed() -> tuple[str, str]:
    """Subject and text of the mail that lies in the outbox."""
    (row,) = [row for row in deliveries() if row.channel == "email"]
    return payloads.mail(row.payload, row.workspace)


def test_mails_are_written_in_the_language_of_mails(fired: Alert, settings: Any) -> None:
    settings.MAIL_LANGUAGE = "pt-br"
    subject, body = mailed()
    assert subject == "[SynapScale] Aviso: Custo de um usuário: bob@example.org em Acme"
    assert body.startswith(
        "bob@example.org em Acme: os provedores cobram US$\u00a012,00 por 1 chamada das últimas 24 horas;"
    )
    at = f"{fired.fired_at.astimezone(UTC):%d/%m/%Y %H:%M} UTC"
    for line in ("Espaço de trabalho: acme", "Regra: Custo de um usuário", "Gravidade: Aviso", f"Disparado: {at}"):
        assert line in body.splitlines()
    assert translation.get_language() == "en"


def test_mails_are_english_where_nothing_else_is_set(fired: Alert) -> None:
    subject, body = mailed()
    assert subject == "[SynapScale] Warning: A user's cost: bob@example.org in Acme"
    assert body.splitlines()[0] == fired.explanation
    assert "Severity: Warning" in body.splitlines()


def test_a_mail_written_down_before_is_sent_as_it_is(fired: Alert, settings: Any) -> None:
    settings.MAIL_LANGUAGE = "pt-br"
    for row in deliveries():
        payload = {name: part for name, part in row.payload.items() if name != "facts"}
        AlertDelivery.objects.filter(workspace_id=row.workspace_id, pk=row.pk).update(payload=payload)
    _subject, body = mailed()
    assert body.splitlines()[0] == fired.explanation


def test_a_mail_is_not_made_of_facts_that_say_something_else(fired: Alert, settings: Any) -> None:
    settings.MAIL_LANGUAGE = "pt-br"
    for row in deliveries():
        for facts in ({**fired.facts, "value": "11"}, {**fired.facts, "of": "unheard-of"}):
            payload = {**row.payload, "facts": facts}
            AlertDelivery.objects.filter(workspace_id=row.workspace_id, pk=row.pk).update(payload=payload)
            _subject, body = mailed()
            assert body.splitlines()[0] == fired.explanation


def test_only_mails_carry_what_they_are_made_of(fired: Alert) -> None:
    for row in deliveries():
        assert ("facts" in row.payload) == (row.channel == "email")
        assert "sk-" not in json.dumps(row.payload)


# --- Roles ------------------------------------------------------------------------------------------------------------


def test_roles_are_called_in_the_readers_language_and_groups_as_they_were_named(db: None) -> None:
    assert set(NAMES) == set(ROLES)
    Group.objects.create(name="Save")  # a text that has a translation
    somebody = User.objects.create_user("clerk@example.org", is_staff=True)
    portuguese, english = office_in("pt-br"), office_in("en")
    for name in ("Operador", "Financeiro", "Suporte", "Somente leitura", "Save"):
        assert name in portuguese.list(Group).text
        options = re.findall(r"<option[^>]*>\s*([^<]*?)\s*</option>", portuguese.open(somebody).text)
        assert name in options
    for name in ROLES:
        assert name in english.list(Group).text
    role = Group.objects.get(name="Finance")
    assert "Financeiro" in portuguese.open(role).text
    assert Group.objects.filter(name__in=ROLES).count() == len(ROLES)


def test_the_audit_log_names_roles_in_the_readers_language(db: None) -> None:
    with translation.override("pt-br"):
        assert called(Group, "Read-only") == "Somente leitura"
        assert called(AlertRule, "Save") == "Save"
