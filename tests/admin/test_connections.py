"""Private hosts in the back office: keys that go in and do not come out, and models that are imported with a price."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from llm import connections
from llm.admin.discovery import llama_models_url
from llm.models import LLM, LLMPrice, ProviderConnection
from tests.admin.rows import Office, again, errors, shown
from tests.audited import changes, notes
from tests.catalogue import make_llm
from tests.hosting import HOST_KEY, make_connection
from tests.providers.standins import StandIn, refusal
from tests.resolver import Resolver, resolver
from workspaces.models import User

__all__ = ["resolver"]

URL = "https://models.example/v1"


def add(office: Office, **typed: Any) -> Any:
    return office.add(ProviderConnection, **{"slug": "lab", "name": "Lab", "base_url": URL, "is_active": "on", **typed})


def key_of(connection: ProviderConnection) -> str:
    return connections.credentials(again(connection)).api_key


@pytest.fixture
def lab(provider: StandIn, db: None) -> ProviderConnection:
    return make_connection(provider)


# --- Connections ----------------------------------------------------------------------------------------------------


def test_a_host_is_added_with_a_key_that_is_not_shown_again(office: Office, root: User) -> None:
    response = add(office, key=HOST_KEY)

    assert response.status_code == 302, errors(response)
    connection = ProviderConnection.objects.get()
    assert (connection.slug, connection.base_url, connection.allows_private_addresses) == ("lab", URL, False)
    assert key_of(connection) == HOST_KEY
    pages = [office.open(connection), office.list(ProviderConnection), office.client.get("/admin/")]
    history = office.client.get(office.url(ProviderConnection, "history", connection.pk))
    secrets = {HOST_KEY, HOST_KEY[:16], bytes(connection.ciphertext).hex(), str(bytes(connection.ciphertext))}
    for page in (*pages, history):
        assert not [secret for secret in secrets if secret in page.text]
    assert "••••host" in pages[0].text
    assert "••••host" in pages[1].text


def test_a_host_without_a_key(office: Office, db: None) -> None:
    assert add(office, base_url="http://ollama:11434/v1", allows_private_addresses="on").status_code == 302
    connection = ProviderConnection.objects.get()
    assert (connection.ciphertext, key_of(connection)) == (None, "none")
    assert "none" in office.open(connection).text


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"base_url": "http://models.example/v1"}, "base_url"),
        ({"base_url": "https://ollama/v1"}, "base_url"),
        ({"base_url": "https://10.0.0.1/v1"}, "base_url"),
        ({"base_url": "https://user:pass@models.example/v1"}, "base_url"),
        ({"base_url": "https://2130706433/v1"}, "base_url"),
        ({"base_url": "http://169.254.169.254/v1", "allows_private_addresses": "on"}, "base_url"),
        ({"base_url": "https://[::ffff:169.254.169.254]/v1", "allows_private_addresses": "on"}, "base_url"),
        ({"base_url": "https://models.example/v1?key=x"}, "base_url"),
        ({"base_url": "https://mоdels.example/v1"}, "base_url"),  # a Cyrillic о
        ({"base_url": f"https://models.example/{'x' * 300}"}, "base_url"),
        ({"base_url": ""}, "base_url"),
        ({"slug": ""}, "slug"),
        ({"slug": "a/b"}, "slug"),
        ({"slug": "llama"}, "slug"),
        ({"key": "sk-with space"}, "key"),
        ({"key": "sk-ключ"}, "key"),
    ],
)
def test_what_can_not_be_entered(office: Office, db: None, typed: dict[str, str], field: str) -> None:
    response = add(office, **{"key": HOST_KEY, **typed})

    assert list(errors(response)) == [field]
    assert HOST_KEY not in response.text
    assert not typed.get("key") or typed["key"] not in response.text
    assert not ProviderConnection.objects.exists()


def test_a_key_is_kept_replaced_or_removed(office: Office, lab: ProviderConnection) -> None:
    assert office.save(lab, name="The lab").status_code == 302
    assert (again(lab).name, key_of(lab)) == ("The lab", HOST_KEY)

    assert office.save(lab, key="sk-another-0123456789").status_code == 302
    assert (key_of(lab), again(lab).hint) == ("sk-another-0123456789", "6789")

    assert "forgets_key" in errors(office.save(lab, key="sk-third-0123456789", forgets_key="on"))
    assert key_of(lab) == "sk-another-0123456789"

    assert office.save(lab, forgets_key="on").status_code == 302
    assert (again(lab).ciphertext, again(lab).key_id, again(lab).hint) == (None, "", "")


def test_a_key_does_not_move_to_another_base_url(office: Office, lab: ProviderConnection) -> None:
    before = lab.base_url
    response = office.save(lab, base_url="https://attacker.example/v1")

    assert errors(response) == {"key": ["The base URL has changed: type the key again, or remove it."]}
    assert (again(lab).base_url, key_of(lab)) == (before, HOST_KEY)

    assert office.save(lab, base_url="https://new.example/v1", key="sk-new-0123456789").status_code == 302
    assert (again(lab).base_url, key_of(lab)) == ("https://new.example/v1", "sk-new-0123456789")

    assert office.save(lab, base_url="https://newer.example/v1", forgets_key="on").status_code == 302
    assert (again(lab).base_url, key_of(lab)) == ("https://newer.example/v1", "none")

    assert office.save(lab, base_url="https://newest.example/v1").status_code == 302  # there is none to lose
    assert (again(lab).base_url, key_of(lab)) == ("https://newest.example/v1", "none")


def test_taking_back_private_addresses_looks_at_the_url_again(office: Office, lab: ProviderConnection) -> None:
    assert "base_url" in errors(office.save(lab, allows_private_addresses=""))
    assert again(lab).allows_private_addresses


def test_the_slug_stays(office: Office, lab: ProviderConnection) -> None:
    assert office.save(lab, slug="other").status_code == 302
    assert again(lab).slug == "lab"


def test_who_may_only_look_can_not_write(clerks_office: Office, clerk: User, lab: ProviderConnection) -> None:
    allow(clerk, "view_providerconnection")

    page = clerks_office.open(lab)
    assert "••••host" in page.text
    assert 'name="key"' not in page.text
    assert "/models/" not in page.text
    url = clerks_office.url(ProviderConnection, "change", lab.pk)
    assert clerks_office.client.post(url, {"name": "x", "base_url": URL, "key": "sk-x"}).status_code == 403
    assert key_of(lab) == HOST_KEY


# --- Their models ---------------------------------------------------------------------------------------------------


def allow(user: User, *codenames: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))


def page_of(source: ProviderConnection | None) -> str:
    return f"/admin/llm/providerconnection/{source.pk}/models/" if source else "/admin/llm/llm/llama/models/"


def fill(office: Office, url: str, model: str, **typed: Any) -> Any:
    """Open the form for a model and submit it as it is shown, with the rest typed in."""
    form = office.client.get(url, {"model": model}).context["form"]
    figures = {"context_window": "100000", "max_output_tokens": "8000"}
    prices = {"input_usd_per_mtok": "0.10", "output_usd_per_mtok": "0.20"}
    return office.client.post(url, {**shown(form), **figures, **prices, **typed})


def test_the_page_of_a_host_leads_to_what_it_offers(office: Office, lab: ProviderConnection, provider: StandIn) -> None:
    provider.answer(models=["zephyr", "meta/llama", "<script>alert(1)</script>"])
    known = make_llm("private", "lab/zephyr", connection=lab)
    assert page_of(lab) in office.open(lab).text

    page = office.client.get(page_of(lab))

    assert page.status_code == 200
    assert [(model.id, model.is_imported) for model in page.context["found"]] == [
        ("<script>alert(1)</script>", False),
        ("meta/llama", False),
        ("zephyr", True),
    ]
    assert f'href="/admin/llm/llm/{known.pk}/change/">private/lab/zephyr' in page.text
    assert 'href="?model=meta%2Fllama"' in page.text
    assert "<script>alert" not in page.text
    assert HOST_KEY not in page.text


def test_a_model_is_imported_with_its_price(
    office: Office, lab: ProviderConnection, provider: StandIn, root: User
) -> None:
    typed = {"display_name": "Llama", "capabilities": ["streaming", "vision"], "cached_input_usd_per_mtok": "0.01"}
    response = fill(office, page_of(lab), "meta/llama", **typed)

    assert response.status_code == 302, response.context["form"].errors
    assert response["location"] == page_of(lab)
    llm = LLM.objects.get()
    assert (str(llm), llm.display_name, llm.connection) == ("private/lab/meta/llama", "Llama", lab)
    assert (llm.supports_streaming, llm.supports_vision, llm.supports_reasoning) == (True, True, False)
    price = llm.prices.get()
    rates = (price.input_usd_per_mtok, price.cached_input_usd_per_mtok, price.output_usd_per_mtok)
    assert rates == (Decimal("0.10"), Decimal("0.01"), Decimal("0.20"))
    assert (notes(llm), changes(llm)["connection"]) == (["Created."], ["None", str(lab.pk)])
    assert "private/lab/meta/llama" in office.client.get(response["location"]).text
    listed = office.list(LLM)
    assert "lab/meta/llama" in listed.text
    assert list(listed.context["cl"].result_list) == [llm]


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"input_usd_per_mtok": ""}, "input_usd_per_mtok"),
        ({"output_usd_per_mtok": ""}, "output_usd_per_mtok"),
        ({"output_usd_per_mtok": "-1"}, "output_usd_per_mtok"),
        ({"input_usd_per_mtok": "0.0000001"}, "input_usd_per_mtok"),
        ({"cached_input_usd_per_mtok": "5000000"}, "cached_input_usd_per_mtok"),
        ({"context_window": ""}, "context_window"),
        ({"context_window": "0"}, "context_window"),
        ({"max_output_tokens": "100001"}, "max_output_tokens"),
        ({"display_name": ""}, "display_name"),
        ({"capabilities": "flying"}, "capabilities"),
        ({"model_id": "a b"}, "model_id"),
        ({"model_id": "taken"}, "model_id"),
    ],
)
def test_an_import_that_is_not_possible_is_an_error_of_the_form(
    office: Office, lab: ProviderConnection, typed: dict[str, str], field: str
) -> None:
    make_llm("private", "lab/taken", connection=lab)
    response = fill(office, page_of(lab), "model-1", **typed)

    assert response.status_code == 200
    assert list(response.context["form"].errors) == [field]
    assert (LLM.objects.count(), LLMPrice.objects.count()) == (1, 1)
    assert [model.id for model in response.context["found"]] == ["model-1", "model-2"]


def test_free_is_a_price_that_is_typed(office: Office, lab: ProviderConnection) -> None:
    form = office.client.get(page_of(lab), {"model": "model-1"}).context["form"]
    filled = {name: value for name, value in shown(form).items() if value}
    assert filled == {"model_id": "model-1", "display_name": "model-1", "capabilities": ["streaming"]}

    response = fill(office, page_of(lab), "model-1", input_usd_per_mtok="0", output_usd_per_mtok="0")
    assert response.status_code == 302
    assert LLM.objects.get().prices.get().input_usd_per_mtok == 0


def test_looking_changes_nothing(office: Office, lab: ProviderConnection) -> None:
    form = office.client.get(page_of(lab), {"model": "model-1"}).context["form"]
    figures = {"context_window": 9, "max_output_tokens": 9, "input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    assert office.client.get(page_of(lab), {**shown(form), **figures}).status_code == 200
    assert not LLM.objects.exists()


def test_a_form_without_a_csrf_token_is_refused(root: User, lab: ProviderConnection) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(root)
    assert client.post(page_of(lab), {"model_id": "x"}).status_code == 403


def test_a_host_that_does_not_answer_is_said_plainly(
    office: Office, lab: ProviderConnection, provider: StandIn, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    resolver.answer("models.example", ["10.1.2.3", "169.254.169.254"])

    def told() -> str:
        page = office.client.get(page_of(lab))
        assert page.status_code == 200
        assert HOST_KEY not in page.text + caplog.text
        assert "10.1.2.3" not in page.text
        return page.context["failure"]

    with caplog.at_level(logging.DEBUG):
        provider.always(refusal(401, code="invalid_api_key", message="Incorrect API key provided: {key}"))
        assert told() == "The provider refused the key."
        provider.always(refusal(404))
        assert told() == "There is no list of models at this base URL."
        ProviderConnection.objects.update(base_url="http://127.0.0.1:9/v1")
        assert told() == "The connection to the provider failed."
        ProviderConnection.objects.update(base_url="http://models.example/v1")
        assert told().startswith("The host's address is neither public nor of a private network")
        ProviderConnection.objects.update(allows_private_addresses=False)
        assert told() == (
            "The host lab can't be called. Only https:// is allowed; plain http:// is for hosts in a private network."
        )
        ProviderConnection.objects.update(is_active=False)
        assert told() == "The host lab is switched off."


def test_why_a_host_does_not_answer_is_said_in_the_language_that_is_spoken(
    office: Office, lab: ProviderConnection, provider: StandIn, settings: Any
) -> None:
    settings.PROVIDERS = {**settings.PROVIDERS, "llama": {"api_key": "", "base_url": ""}}
    office.client.cookies["django_language"] = "pt-br"

    def told(url: str = "") -> str:
        return office.client.get(url or page_of(lab)).context["failure"]

    provider.always(refusal(404))
    assert told() == "Não há lista de modelos nesta URL base."
    ProviderConnection.objects.update(base_url="http://127.0.0.1:9/v1")
    assert told() == "A conexão com o provedor falhou."
    ProviderConnection.objects.update(base_url="https://models.example/v1?x=1")
    assert told() == "O host lab não pode ser chamado. A URL não tem consulta nem fragmento."
    ProviderConnection.objects.update(is_active=False)
    assert told() == "O host lab está desligado."
    assert told(llama_models_url()) == "Nenhuma chave está configurada para llama."
    response = add(office, slug="other", base_url="https://10.0.0.1/v1")
    assert response.context["adminform"].form.errors["base_url"] == ["O endereço do host não é público."]


def test_a_long_list_is_searched(office: Office, lab: ProviderConnection, provider: StandIn) -> None:
    provider.answer(models=[f"model-{number:04}" for number in range(1_000)])

    page = office.client.get(page_of(lab))
    assert (len(page.context["found"]), page.context["hidden"], page.context["total"]) == (500, 500, 1_000)
    page = office.client.get(page_of(lab), {"q": " MODEL-099 "})
    assert [model.id for model in page.context["found"]] == [f"model-099{digit}" for digit in range(10)]
    assert "No id has “&lt;x&gt;” in it." in office.client.get(page_of(lab), {"q": "<x>"}).text


def test_the_llama_host_has_a_page_of_its_own(office: Office, house_keys: StandIn, db: None) -> None:
    assert page_of(None) in office.list(LLM).text

    response = fill(office, page_of(None), "model-1")
    assert response.status_code == 302
    assert str(LLM.objects.get()) == "llama/model-1"
    page = office.client.get(page_of(None))
    assert [model.is_imported for model in page.context["found"]] == [True, False]
    assert "sk-house" not in page.text


def test_only_staff_who_may_add_models_and_see_hosts(
    clerks_office: Office, clerk: User, lab: ProviderConnection, house_keys: StandIn
) -> None:
    data = {"model_id": "model-1", "display_name": "x", "context_window": 9, "max_output_tokens": 9}
    data |= {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}
    for permissions in ((), ("add_llm",), ("view_providerconnection", "view_llm", "change_llm", "add_llmprice")):
        allow(clerk, *permissions)
        for url in (page_of(lab), page_of(None)):
            assert clerks_office.client.get(url).status_code == 403
            assert clerks_office.client.post(url, data).status_code == 403
    assert house_keys.requests == []
    assert page_of(None) not in clerks_office.list(LLM).text
    assert Client().get(page_of(lab)).status_code == 302  # to the login
    assert not LLM.objects.exists()

    allow(clerk, "add_llm", "view_providerconnection", "view_llm")
    assert page_of(None) in clerks_office.list(LLM).text
    assert clerks_office.client.get(page_of(lab)).status_code == 200
    assert clerks_office.client.post(page_of(lab), data).status_code == 302
    assert str(LLM.objects.get()) == "private/lab/model-1"


@pytest.mark.parametrize("key", ["00000000-0000-7000-8000-000000000000", "x", "a/b"])
def test_a_host_that_does_not_exist(office: Office, db: None, key: str) -> None:
    assert office.client.get(f"/admin/llm/providerconnection/{key}/models/").status_code == 404


# --- Models typed by hand -------------------------------------------------------------------------------------------

NO_PRICES = {"prices-TOTAL_FORMS": "0", "prices-INITIAL_FORMS": "0"}
BY_HAND = {"display_name": "By hand", "context_window": "1000", "max_output_tokens": "100", **NO_PRICES}


def offered(form: Any) -> list[str]:
    return [value for value, _ in form.fields["provider"].choices]


def test_a_model_of_a_private_host_names_its_host(office: Office, lab: ProviderConnection) -> None:
    page = office.client.get(office.url(LLM, "add"))
    assert "private" not in offered(page.context["adminform"].form)
    assert "openai" in offered(page.context["adminform"].form)

    assert "provider" in errors(office.add(LLM, provider="private", name="lab/x", **BY_HAND))
    with_host = {"connection": str(lab.pk), **BY_HAND}
    assert "provider" in errors(office.add(LLM, provider="openai", name="lab/x", **with_host))
    for name in ("x", "other/x", "lab/", "lab/a b"):
        assert "name" in errors(office.add(LLM, provider="private", name=name, **with_host))
    assert not LLM.objects.exists()

    assert office.add(LLM, provider="", name="lab/x", **with_host).status_code == 302
    llm = LLM.objects.get()
    assert (str(llm), llm.connection) == ("private/lab/x", lab)
    assert "private" in offered(office.open(llm).context["adminform"].form)


def test_a_model_keeps_its_host_when_it_is_changed(office: Office, lab: ProviderConnection) -> None:
    llm = make_llm("private", "lab/x", connection=lab)
    prices = {"prices-TOTAL_FORMS": "1", "prices-INITIAL_FORMS": "1", "prices-0-id": str(llm.prices.get().pk)}

    assert office.save(llm, display_name="Renamed", **prices).status_code == 302
    assert (again(llm).display_name, again(llm).connection, again(llm).provider) == ("Renamed", lab, "private")
    # It has a price by now: what it is stays, whatever is typed.
    assert office.save(llm, connection="", provider="openai", **prices).status_code == 302
    assert (again(llm).connection, again(llm).provider) == (lab, "private")
