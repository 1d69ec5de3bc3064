"""Who is shown which links at the side."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client, RequestFactory
from django.urls import reverse

from office import navigation
from tests.admin.rows import Office
from workspaces.models import User

pytestmark = pytest.mark.django_db


def links_of(user: User) -> list[str]:
    request = RequestFactory().get("/admin/")
    request.user = user
    return [item["link"] for group in navigation.groups(request) for item in group["items"]]


def test_a_superuser_finds_every_list_that_there_is() -> None:
    lists = {
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") for model in admin.site._registry
    }
    links = links_of(User.objects.create_superuser("root@example.org"))

    assert lists <= set(links)
    assert len(links) == len(set(links))


def test_a_clerk_is_shown_what_a_clerk_may_open() -> None:
    clerk = User.objects.create_user("clerk@example.org", is_staff=True)
    assert links_of(clerk) == ["/admin/"]

    clerk.user_permissions.add(Permission.objects.get(codename="view_wallet"))
    clerk = User.objects.get(pk=clerk.pk)

    assert links_of(clerk) == ["/admin/", "/admin/billing/wallet/"]
    client = Client()
    client.force_login(clerk)
    page = client.get("/admin/").text
    assert "Money" in page
    assert "Conversations" not in page


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("/admin/", "/admin/"),
        ("/admin/billing/wallet/", "/admin/billing/wallet/"),
        ("/admin/conversations/conversationllm/", "/admin/conversations/conversationllm/"),
        ("/admin/workspaces/user/add/", "/admin/workspaces/user/"),
    ],
)
def test_the_link_to_where_one_is_is_marked(office: Office, path: str, link: str) -> None:
    side = office.client.get(path).text.partition('id="nav-sidebar-apps"')[2]

    assert re.findall(r'<a href="([^"]*)" class="[^"]* active"', side) == [link]


def test_a_heading_calls_a_list_what_its_link_at_the_side_calls_it(office: Office) -> None:
    person = User.objects.get()
    for path in ("/admin/workspaces/user/", f"/admin/workspaces/user/{person.pk}/change/"):
        words = re.sub(r"<[^>]+>", " ", office.client.get(path).text).split()
        assert "Workspaces and people chevron_right People" in " ".join(words)
