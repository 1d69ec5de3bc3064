"""Back office: whether a private host answers, and takes its key. Its list of models is asked for, which costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from llm import discovery, fault_words
from llm.errors import ProviderError, ProviderModelNotFound, ProviderNotConfigured
from llm.models import ProviderConnection
from synapscale.common import audit
from synapscale.common.confirming import Deed, Facts, NothingToType, Said


@dataclass(frozen=True)
class HostTest(Deed):
    connection: ProviderConnection

    title = gettext_lazy("Test the key")
    button = gettext_lazy("Make the call")
    permission = "llm.change_providerconnection"
    form = NothingToType

    @property
    def subject(self) -> str:
        return self.connection.name

    def effect(self, given: Mapping[str, Any]) -> Facts:
        return [
            (_("One real call"), _("for the list of models at %(url)s") % {"url": self.connection.base_url}),
            (_("What it costs"), _("nothing: no model is called")),
        ]

    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said:
        audit.record(self.connection, what=audit.TEST_BEGUN, actor=actor)  # a crash while it is asked leaves this
        result, said = self._ask()
        audit.record(self.connection, what=audit.TESTED, actor=actor, result=result)
        at = date_format(timezone.localtime(), "DATETIME_FORMAT")
        text = _("%(when)s: %(what)s") % {"when": at, "what": said}
        return Said(text, messages.SUCCESS if result == "works" else messages.ERROR)

    def _ask(self) -> tuple[str, str]:
        """A code, and what it says."""
        try:
            count = len(discovery.list_models_now(self.connection))
        except ProviderModelNotFound as error:
            return error.code, _("The host answers, but has no list of models there: nothing is known of the key.")
        except ProviderNotConfigured as error:
            if not self.connection.is_active:
                return error.code, _("The host is switched off: nothing was called.")
            return error.code, _("The key can't be read any more: it has to be typed again.")
        except ProviderError as error:
            return error.code, fault_words.said(error.code, provider=self.connection.name, model=_("model"))
        counted = ngettext("it lists %(count)d model", "it lists %(count)d models", count) % {"count": count}
        return "works", _("The host answers and takes the key: %(counted)s.") % {"counted": counted}
