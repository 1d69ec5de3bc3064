"""People choose the language of the back office; the API speaks English whatever was chosen."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client

from tests.admin.rows import Office
from workspaces.models import User

pytestmark = pytest.mark.django_db


def test_the_language_that_was_chosen_stays(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org"))
    assert '<html lang="en"' in client.get("/admin/").text

    response = client.post("/admin/language/setlang/", {"language": "pt-br", "next": "/admin/"})

    assert response["Location"] == "/admin/"
    assert client.cookies[settings.LANGUAGE_COOKIE_NAME].value == "pt-br"
    assert '<html lang="pt-br"' in client.get("/admin/").text


def test_the_browsers_language_is_taken_where_none_was_chosen() -> None:
    assert '<html lang="pt-br"' in Client(headers={"Accept-Language": "pt-BR,pt;q=0.9"}).get("/admin/login/").text
    assert '<html lang="en"' in Client(headers={"Accept-Language": "fi"}).get("/admin/login/").text


def test_the_api_speaks_english_to_everybody() -> None:
    client = Client(headers={"Accept-Language": "pt-BR"})
    client.get("/admin/login/")

    page = client.get("/api/v1/conversations")

    assert page.status_code == 401
    assert "Content-Language" not in page
    message = page.json()["error"]["message"]
    assert message == Client().get("/api/v1/conversations").json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/admin/billing/wallet/", 403, "Você não pode fazer isto"),
        ("/admin/nothing/", 404, "Esta página não existe"),
    ],
)
def test_what_goes_wrong_is_said_in_the_language_that_was_chosen(db: None, path: str, status: int, said: str) -> None:
    client = Client()
    client.force_login(User.objects.create_user("clerk@example.org", is_staff=True))
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "pt-br"

    page = client.get(path)

    assert page.status_code == status
    assert '<html lang="pt-br">' in page.text
    assert said in page.text


@pytest.mark.parametrize(
    ("language", "missing", "refused"),
    [
        ("en", "There is no such page", "You may not do this"),
        ("pt-br", "Esta página não existe", "Você não pode fazer isto"),
    ],
)
def test_what_goes_wrong_is_said_in_the_readers_language(
    clerks_office: Office, language: str, missing: str, refused: str
) -> None:
    client = clerks_office.client
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = language
    for url, status, said in (("/admin/billing/nothing/", 404, missing), ("/admin/billing/wallet/", 403, refused)):
        response = client.get(url)
        assert response.status_code == status
        assert f"<h1>{said}</h1>" in response.text
        assert f"<title>{said} | SynapScale</title>" in response.text
