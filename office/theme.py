"""Back office: how it looks. Read by the settings, so nothing here may need Django to be ready."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _

# Cool greys and a blue-green. Text in 600 on white and in 400 on 900 keeps the contrast that WCAG AA asks for.
BASE = {
    "50": "oklch(98.4% 0.003 247.858)",
    "100": "oklch(96.8% 0.007 247.896)",
    "200": "oklch(92.9% 0.013 255.508)",
    "300": "oklch(86.9% 0.022 252.894)",
    "400": "oklch(74% 0.03 256.788)",
    "500": "oklch(50% 0.046 257.417)",
    "600": "oklch(44.6% 0.043 257.281)",
    "700": "oklch(37.2% 0.044 257.287)",
    "800": "oklch(27.9% 0.041 260.031)",
    "900": "oklch(20.8% 0.042 265.755)",
    "950": "oklch(12.9% 0.042 264.695)",
}
PRIMARY = {
    "50": "oklch(98.4% 0.014 180.72)",
    "100": "oklch(95.3% 0.051 180.801)",
    "200": "oklch(91% 0.096 180.426)",
    "300": "oklch(85.5% 0.138 181.071)",
    "400": "oklch(77.7% 0.152 181.912)",
    "500": "oklch(70.4% 0.14 182.503)",
    "600": "oklch(49% 0.09 185)",
    "700": "oklch(43.7% 0.078 188.216)",
    "800": "oklch(38.6% 0.063 188.416)",
    "900": "oklch(33% 0.054 188)",
    "950": "oklch(27.7% 0.046 192.524)",
}


LANGUAGES: list[tuple[str, str]] = [("en", "English"), ("pt-br", "Português (Brasil)")]


def environment(request: HttpRequest) -> list[str] | None:
    """The label beside a page's title: what it says, and its colour."""
    name = settings.ENVIRONMENT_NAME
    return [name, "danger" if name.lower().startswith("prod") else "warning"] if name else None


def environment_prefix(request: HttpRequest) -> str:
    """The same at the beginning of the browser tab's title."""
    name = settings.ENVIRONMENT_NAME
    return f"[{name}]" if name else ""


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "SynapScale",
    "SITE_HEADER": "SynapScale",
    "SITE_SUBHEADER": _("Back office"),
    "SITE_URL": None,
    "SITE_ICON": lambda request: static("office/favicon.svg"),
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("office/favicon.svg")},
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_LANGUAGES": True,
    "LANGUAGES": {"navigation": [{"code": code, "name_local": name} for code, name in LANGUAGES]},
    "SHOW_BACK_BUTTON": True,
    "LOGIN": {"form": "workspaces.sign_in_form.SignInForm"},
    "ENVIRONMENT": "office.theme.environment",
    "ENVIRONMENT_TITLE_PREFIX": "office.theme.environment_prefix",
    "DASHBOARD_CALLBACK": "office.dashboard.context",
    "BORDER_RADIUS": "6px",
    "COLORS": {"base": BASE, "primary": PRIMARY},
    "STYLES": [
        lambda request: static("office/office.css"),
        lambda request: static("office/dashboard.css"),
        lambda request: static("office/prices.css"),
        lambda request: static("office/rows.css"),
    ],
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
    },
}
