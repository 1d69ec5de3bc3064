"""A browser, and pages that fail their test if anything went wrong on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.browser.browsing import ARGUMENTS, CHROMIUM, DESKTOP, Page, session_cookie
from tests.conftest import Server
from tests.house import house  # noqa: F401
from workspaces.models import User

PageOf = Callable[[User | None], Page]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium, for the tests of this folder alone: while it runs, so does an event loop in this thread."""
    if not CHROMIUM:
        pytest.skip("no Chromium was found (Debian: apt-get install chromium)")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def _office_server() -> Iterator[Server]:
    """The application as it is served, with the static files as they are collected for it."""
    from servestatic import ServeStaticASGI

    from synapscale import asgi

    call_command("collectstatic", interactive=False, verbosity=0)
    application = ServeStaticASGI(asgi._dispatch, root=str(settings.STATIC_ROOT), prefix=settings.STATIC_URL)
    server = Server(application, lifespan="off")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def root(transactional_db: None) -> User:
    return User.objects.create_superuser("root@example.org", "correct horse battery", name="Root")


@pytest.fixture
def page_of(browser: Browser, transactional_db: None, _office_server: Server) -> Iterator[PageOf]:
    """Opens a page for somebody who is signed in (None: for a stranger). Nothing may have gone wrong on any of them."""
    contexts: list[BrowserContext] = []
    pages: list[Page] = []

    def open_page(user: User | None) -> Page:
        context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce", locale="en-US")  # type: ignore[arg-type]
        contexts.append(context)
        if user is not None:
            client = Client()
            client.force_login(user)
            context.add_cookies([session_cookie(client, _office_server.url)])  # type: ignore[list-item]
        page = Page(context, _office_server.url)
        pages.append(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [problem for page in pages for problem in page.problems] == []


@pytest.fixture
def page(page_of: PageOf, root: User) -> Page:
    """A page of the superuser's."""
    return page_of(root)
