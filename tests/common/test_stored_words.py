"""What the database has in English is read in the language of whoever looks; what people wrote stays."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib import admin
from django.test import RequestFactory
from django.utils import translation

from analytics.models import AlertDelivery, ReportRun, WebhookEndpoint
from billing.models import BillingEvent, HoldIncident
from conversations.models import Message, UsageLog
from llm import errors, hosts
from llm.models import PriceProposal
from synapscale.common import stored_words
from tagging.models import TagRule

SENTENCES = [
    (AlertDelivery(last_error="It answered with status 500."), "last_error", "Respondeu com o status 500."),
    (AlertDelivery(last_error="The endpoint is switched off."), "last_error", "O endpoint está desligado."),
    (AlertDelivery(last_error=""), "last_error", ""),
    (
        WebhookEndpoint(last_error="No answer came within 10 seconds."),
        "last_error",
        "Nenhuma resposta chegou em 10 segundos.",
    ),
    (
        BillingEvent(description="openai/gpt-x, 30 tokens, platform fee on the user's own key"),
        "description",
        "openai/gpt-x, 30 tokens, taxa da plataforma sobre a chave própria do usuário",
    ),
    (BillingEvent(description="Trial credit"), "description", "Crédito de teste"),
    (BillingEvent(description="Support"), "description", "Support"),  # an operator's own word
    (HoldIncident(detail="message 7 had no hold"), "detail", "a mensagem 7 não tinha reserva"),
    (PriceProposal(reason="No rate moves by more than 5 %."), "reason", "Nenhuma tarifa muda mais de 5 %."),
    (PriceProposal(reason="Save"), "reason", "Save"),
    (
        Message(error_message="The provider did not answer in time."),
        "error_message",
        "O provedor não respondeu a tempo.",
    ),
    (
        UsageLog(error_message="openai refused your own key (…1234)."),
        "error_message",
        "openai recusou a chave própria (…1234).",
    ),
    (UsageLog(error_message="openai refused your own key."), "error_message", "openai recusou a chave própria."),
    (Message(error_message="Of a version to come."), "error_message", "Of a version to come."),
    (
        ReportRun(error="This report shows calls that you may not see."),
        "error",
        "Este relatório mostra chamadas que você não pode ver.",
    ),
    (
        ReportRun(error="The report asks for what is not there for it any more. llm: Unknown model."),
        "error",
        "O relatório pede o que não existe mais para ele. llm: Unknown model.",
    ),
    (ReportRun(error="Of a version to come."), "error", "Of a version to come."),
]


@pytest.mark.parametrize(("row", "name", "portuguese"), SENTENCES)
def test_a_stored_sentence_is_read_in_the_language_that_is_spoken(row: object, name: str, portuguese: str) -> None:
    assert stored_words.said(row, name) == getattr(row, name)  # type: ignore[arg-type]
    with translation.override("pt-br"):
        assert stored_words.said(row, name) == portuguese  # type: ignore[arg-type]


def test_lists_and_pages_show_it_so() -> None:
    request = RequestFactory().get("/admin/")
    model_admin = admin.site.get_model_admin(AlertDelivery)
    row = AlertDelivery(last_error="The connection failed.")
    columns = {getattr(one, "__name__", one): one for one in model_admin.get_list_display(request)}
    with translation.override("pt-br"):
        assert columns["last_error"](row) == "A conexão falhou."  # type: ignore[operator]


def kinds(error: type[errors.ProviderError]) -> set[type[errors.ProviderError]]:
    return {error}.union(*(kinds(one) for one in error.__subclasses__()))


def raised(path: Path) -> Iterator[ast.expr]:
    """What the code at ``path`` makes a ``ProviderError`` say: the first argument, or what a ``message`` was set to."""
    names = {"kind", *(kind.__name__ for kind in kinds(errors.ProviderError))}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield from node.args[:1]
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "message")
        elif isinstance(node, ast.Assign):
            targets = {one.id for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name)}
            if "message" in targets:
                yield node.value


def test_every_fault_of_a_provider_has_a_translation() -> None:
    root = Path(errors.__file__).parent
    others = (root / "discovery.py", root / "connections.py", root.parent / "conversations" / "tries.py")
    said = [said for path in (*(root / "providers").glob("*.py"), *others) for said in raised(path)]
    parts = [part for one in said for part in ast.walk(one)]
    assert not [ast.unparse(part) for part in parts if isinstance(part, ast.JoinedStr)]  # no catalogue has those
    texts = {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)} - {""}
    assert {  # the ways in which one is raised
        "The connection to the provider failed.",
        "The provider sent far more than was asked for.",
        "The provider's answer had no end.",
        "There is no list of models at this base URL.",
        "The host %(host)s is switched off.",
    } <= texts
    texts |= {kind.default_message for kind in kinds(errors.ProviderError)}
    texts |= {*hosts.RULES.values(), hosts.PLAIN_RULE}
    with translation.override("pt-br"):
        assert not [text for text in texts if stored_words.said(Message(error_message=text), "error_message") == text]


def test_what_is_wrong_with_an_endpoints_address_is_read_so_too() -> None:
    with pytest.raises(hosts.HostForbidden) as refusal:
        hosts.check_url(f"https://hooks.example/{'a' * 300}", allows_private=False)
    row = WebhookEndpoint(last_error=str(refusal.value))
    with translation.override("pt-br"):
        assert stored_words.said(row, "last_error") == "A URL tem no máximo 300 caracteres."


def test_built_in_rules_for_tags_are_called_in_the_language_that_is_spoken() -> None:
    with translation.override("pt-br"):
        assert str(TagRule(name="High cost", is_builtin=True)) == "Custo alto"
        assert str(TagRule(name="High cost")) == "High cost"
