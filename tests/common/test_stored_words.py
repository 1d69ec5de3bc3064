"""What the database has in English is read in the language of whoever looks; what people wrote stays."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import RequestFactory
from django.utils import translation

from analytics.models import AlertDelivery, WebhookEndpoint
from billing.models import BillingEvent, HoldIncident
from conversations.models import Message, UsageLog
from llm import errors
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


def test_every_fault_of_a_provider_has_a_translation() -> None:
    def kinds(error: type[errors.ProviderError]) -> set[type[errors.ProviderError]]:
        return {error}.union(*(kinds(one) for one in error.__subclasses__()))

    for kind in kinds(errors.ProviderError):
        with translation.override("pt-br"):
            assert (
                stored_words.said(Message(error_message=kind.default_message), "error_message") != kind.default_message
            )


def test_built_in_rules_for_tags_are_called_in_the_language_that_is_spoken() -> None:
    with translation.override("pt-br"):
        assert str(TagRule(name="High cost", is_builtin=True)) == "Custo alto"
        assert str(TagRule(name="High cost")) == "High cost"
