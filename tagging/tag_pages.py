"""Back office: what lists and pages say of suggestions, and of the rules that make them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from synapscale.common.panels import Panel
from tagging import registry, rules
from tagging.models import TagLink, TagRule
from tagging.rules import Record

MANY = 1000
"""Of more than so many suggestions it is said that there are more."""
LIST = "admin:tagging_taglink_changelist"


def precision(record: Record) -> str:
    """Of what people decided, the share that they accepted: ``75.0 %, of 4``."""
    if record.precision is None:
        return _("nobody has decided yet")
    share = number_format(record.precision * 100, decimal_pos=1)
    return _("%(share)s %%, of %(count)d") % {"share": share, "count": record.accepted + record.rejected}


def waiting_url(rule: TagRule) -> str:
    query = {"workspace__id__exact": rule.workspace_id, "rule__id__exact": rule.pk, "state__exact": "suggested"}
    return f"{reverse(LIST)}?{urlencode(query)}"


def waiting() -> dict[str, Any]:
    """How many suggestions wait, of all workspaces. One query, by the index that holds nothing else."""
    count = TagLink.objects.filter(state=TagLink.State.SUGGESTED).order_by()[: MANY + 1].count()
    return {
        "waiting": min(count, MANY),
        "has_more": count > MANY,
        "waiting_url": f"{reverse(LIST)}?{urlencode({'state__exact': 'suggested'})}",
    }


def target(link: TagLink) -> str:
    """What carries the tag, and the way there."""
    taggable = registry.get(link.target_type)
    said = f"{link.target_type} …{str(link.target_id)[-12:]}"
    if taggable is None:
        return said
    meta = taggable.model._meta
    try:
        url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[link.target_id])
    except NoReverseMatch:
        return said
    return format_html('<a href="{}">{}</a>', url, said)


def buttons(link: TagLink) -> SafeString | str:
    """They send the form that is around the list to another address: it has the token that a POST needs."""
    if link.state != TagLink.State.SUGGESTED:
        return "—"
    return format_html(
        '<span class="office-decisions"><button type="submit" class="office-decide" formaction="{}" aria-label="{}">{}</button> '
        '<button type="submit" class="office-decide" formaction="{}" aria-label="{}">{}</button></span>',
        reverse("admin:tagging_taglink_accept", args=[link.pk]),
        _("Accept “%(tag)s”") % {"tag": link.tag},
        _("Accept"),
        reverse("admin:tagging_taglink_reject", args=[link.pk]),
        _("Reject “%(tag)s”") % {"tag": link.tag},
        _("Reject"),
    )


def back_from(request: HttpRequest) -> str:
    """The page of ours that the button was on; else the list."""
    referer = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure())
    parts = urlsplit(referer)
    if not is_ours or not parts.path.startswith(reverse(LIST)):
        return reverse(LIST)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _of_link(request: HttpRequest, link: TagLink) -> dict[str, Any]:
    """One query, where a rule has made it."""
    may_decide = request.user.has_perm("tagging.change_taglink") and link.state == TagLink.State.SUGGESTED
    record = rules.opinions([link.rule]).get(link.rule.pk, Record()) if link.rule is not None else None
    return {
        "link": link,
        "target": target(link),
        "may_decide": may_decide,
        "rule_url": reverse("admin:tagging_tagrule_change", args=[link.rule_id]) if link.rule_id else "",
        "precision": precision(record) if record is not None else "",
    }


def _of_rule(request: HttpRequest, rule: TagRule) -> dict[str, Any]:
    """One query."""
    record = rules.records([rule]).get(rule.pk, Record())
    return {"record": record, "precision": precision(record), "waiting_url": waiting_url(rule)}


LINK_PANEL = Panel("admin/tagging/taglink/panel.html", _of_link)
RULE_PANEL = Panel("admin/tagging/tagrule/panel.html", _of_rule)
