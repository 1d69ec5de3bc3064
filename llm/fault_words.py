"""What became of a call that tried a key, in our words and whatever language is spoken: never in the provider's."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

_WORDS = {
    "provider_authentication_failed": gettext_lazy("%(provider)s refuses the key."),
    "provider_permission_denied": gettext_lazy("%(provider)s takes the key, but lets it not use %(model)s."),
    "provider_model_not_found": gettext_lazy("%(provider)s takes the key, but knows no %(model)s."),
    "provider_quota_exhausted": gettext_lazy("%(provider)s takes the key, but its account has no credit left."),
    "provider_rate_limited": gettext_lazy("%(provider)s limits the rate of calls at the moment: try again later."),
    "provider_unavailable": gettext_lazy("%(provider)s can't be reached at the moment."),
    "provider_timeout": gettext_lazy("%(provider)s did not answer in time."),
    "provider_stream_interrupted": gettext_lazy("%(provider)s began to answer and broke off."),
    "provider_host_forbidden": gettext_lazy("%(provider)s may not be connected to: see its base URL."),
}


def said(code: str, *, provider: str, model: str) -> str:
    """A sentence for the ``code`` of a ``ProviderError``."""
    words = _WORDS.get(code)
    if words is None:
        return _("The call failed (%(code)s). Nothing is known of the key by that.") % {"code": code}
    return str(words) % {"provider": provider, "model": model}
