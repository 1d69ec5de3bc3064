"""What an alert says, put together in the language of whoever reads it from the facts that the alert keeps.

Facts are plain JSON: ``condition``, ``subject`` (the names that its label is made of) and what the condition has found;
amounts are decimal strings, moments ISO 8601. Stored, posted and shown by the API is the English text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from analytics.alerting import robust, words
from llm.models import ProviderName
from synapscale.common import amounts
from synapscale.common.moments import moment

Facts = Mapping[str, Any]
_PROVIDERS = dict(ProviderName.choices)
_OTHERWISE = (KeyError, TypeError, ValueError, ArithmeticError)
"""What reading facts of another version raises."""


def label(facts: Facts) -> str:
    """What the subject is called. Empty for facts of another version."""
    match facts:
        case {"subject": {**names}} if not names:
            return _("All workspaces")
        case {"subject": {"name": str(name), **others}} if not others:
            return name
        case {"subject": {"user": str(user), "workspace": str(workspace), **others}} if not others:
            return _("%(user)s in %(workspace)s") % {"user": user, "workspace": workspace}
        case {"subject": {"owner": str(owner), "provider": str(provider), **others}} if not others:
            return _("%(provider)s key of %(owner)s") % {
                "provider": _PROVIDERS.get(provider, provider),
                "owner": owner,
            }
    return ""


def explanation(facts: Facts) -> str:
    """The sentence that says what is too much, and by how much. Empty for facts of another version, which may lack what
    this one reads, or keep it otherwise.
    """
    subject = label(facts)
    if not subject:
        return ""
    try:
        return _SAYS[facts["condition"]]({**facts, "subject": subject})
    except _OTHERWISE:
        return ""


def told(facts: Facts, stored: str) -> str:
    """``stored``, which is an alert's explanation in English, in the reader's language; as it is where the facts say
    something else: a server of an earlier version writes it anew, and leaves the facts as they were.
    """
    with translation.override("en"):
        is_said_by_them = explanation(facts) == stored
    return (explanation(facts) if is_said_by_them else "") or stored


# --- Conditions -------------------------------------------------------------------------------------------------------

_COSTS = {
    "cost": gettext_noop(
        "%(subject)s: the wallet paid %(value)s for %(calls)s %(window)s; more than %(threshold)s is too much."
    ),
    "provider_cost": gettext_noop(
        "%(subject)s: the providers ask %(value)s for %(calls)s %(window)s; more than %(threshold)s is too much."
    ),
}


def _cost(facts: Facts) -> str:
    return _(_COSTS[facts["of"]]) % {
        "subject": facts["subject"],
        "value": _usd(facts["value"]),
        "calls": words.calls(facts["calls"]),
        "window": words.window(facts["seconds"]),
        "threshold": _usd(facts["threshold"]),
    }


def _error_rate(facts: Facts) -> str:
    return _(
        "%(subject)s: %(failed)s of %(calls)s %(window)s failed, which is %(value)s; more than %(threshold)s is too much."
    ) % {
        "subject": facts["subject"],
        "failed": amounts.whole(facts["failed"]),
        "calls": words.calls(facts["calls"]),
        "window": words.window(facts["seconds"]),
        "value": words.percent(Decimal(facts["value"])),
        "threshold": words.percent(Decimal(facts["threshold"])),
    }


_AVERAGE = gettext_noop(
    "%(subject)s: the average of the time to the whole answer was %(value)s s, of %(answers)s %(window)s; more than "
    "%(threshold)s s is too much."
)
_PERCENTILE = gettext_noop(
    "%(subject)s: the %(statistic)s of the time to the whole answer was %(value)s s, of %(answers)s %(window)s; more than "
    "%(threshold)s s is too much."
)


def _latency(facts: Facts) -> str:
    text = _AVERAGE if facts["statistic"] == "average" else _PERCENTILE
    return _(text) % {
        "subject": facts["subject"],
        "statistic": facts["statistic"],
        "value": _plain(facts["value"]),
        "answers": words.answers(facts["calls"]),
        "window": words.window(facts["seconds"]),
        "threshold": _plain(facts["threshold"]),
    }


def _key_expiry(facts: Facts) -> str:
    days = Decimal(facts["value"])
    text = (
        _("%(subject)s: it expires in %(days)s, at %(moment)s; calls run without it from then on. %(advice)s")
        if days > 0
        else _("%(subject)s: it expired %(days)s ago, at %(moment)s; calls run without it from then on. %(advice)s")
    )
    return text % {
        "subject": facts["subject"],
        "days": words.days(abs(days)),
        "moment": moment(datetime.fromisoformat(facts["expires_at"])),
        "advice": _("%(days)s before is when to replace it.") % {"days": words.days(Decimal(facts["threshold"]))},
    }


_IN_AN_HOUR = gettext_noop("%(subject)s: in the hour from %(hour)s on %(happened)s.")
_SO_FAR = gettext_noop("%(subject)s: in the hour from %(hour)s on, so far, %(happened)s.")
_HAPPENED = {
    "provider_cost": gettext_noop("the providers ask %(value)s for its calls"),
    "cost": gettext_noop("the wallet paid %(value)s for its calls"),
    "calls": gettext_noop("it had %(value)s calls"),
    "total_tokens": gettext_noop("it used %(value)s million tokens"),
}


def _anomaly(facts: Facts) -> str:
    shown = _usd if facts["metric"] in ("cost", "provider_cost") else _plain
    text = _SO_FAR if facts["is_under_way"] else _IN_AN_HOUR
    began = _(text) % {
        "subject": facts["subject"],
        "hour": moment(datetime.fromisoformat(facts["hour"])),
        "happened": _(_HAPPENED[facts["metric"]]) % {"value": shown(facts["value"])},
    }
    usual = _(
        "On the %(days)s days before, the same hour came to %(median)s in the median, and was %(mad)s away from that in the "
        "median (MAD). More than %(bound)s is unusual: the median and the larger of %(threshold)s × %(consistency)s × MAD "
        "(%(deviation)s) and the floor (%(floor)s)."
    ) % {
        "days": facts["days"],
        "consistency": amounts.plain(robust.CONSISTENCY),
        "threshold": _plain(facts["threshold"]),
        **{name: shown(facts[name]) for name in ("median", "mad", "bound", "deviation", "floor")},
    }
    return f"{began} {usual}"


_SAYS: dict[str, Callable[[Facts], str]] = {
    "cost": _cost,
    "error_rate": _error_rate,
    "latency": _latency,
    "key_expiry": _key_expiry,
    "anomaly": _anomaly,
}


def _usd(amount: str) -> str:
    return amounts.dollars(Decimal(amount))


def _plain(number: str) -> str:
    return amounts.plain(Decimal(number))
