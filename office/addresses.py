"""Back office: addresses of the admin's own that would break on what somebody types into them."""

from __future__ import annotations

from django.contrib import admin
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest, HttpResponse


def search(request: HttpRequest) -> HttpResponse:
    """unfold's search, which takes whatever ``page`` says for a page that there is."""
    try:
        found: HttpResponse = admin.site.search(request)  # type: ignore[attr-defined]  # unfold's site has it
    except InvalidPage:
        raise Http404 from None
    return found


def view_on_site(request: HttpRequest) -> HttpResponse:
    """Where Django would send to the page that a row has outside, and looks the row up by any key: none has one."""
    raise Http404
