"""Back office: what runs out, tokens and keys alike."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from synapscale.common.badges import SOON


class ExpiryFilter(admin.SimpleListFilter):
    """By how long rows are still good for; what is out of use already runs out no more."""

    title = gettext_lazy("expiry")
    parameter_name = "expiry"
    in_use: ClassVar[Q]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("soon", _("Within 14 days")),
            ("later", _("Later than that")),
            ("expired", _("Has expired")),
            ("never", _("Never")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        wanted = {
            "soon": Q(self.in_use, expires_at__gt=now, expires_at__lte=now + SOON),
            "later": Q(self.in_use, expires_at__gt=now + SOON),
            "expired": Q(expires_at__lte=now),
            "never": Q(self.in_use, expires_at__isnull=True),
        }.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(wanted)
