"""What a report asks for: the parameters of ``analytics/usage``, kept as JSON and checked by the same code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext_noop
from rest_framework.serializers import ValidationError

from analytics import asking
from analytics.asking import Asked, Asker
from analytics.models import Report, ReportRun
from analytics.reports import rights
from conversations.windows import Window
from synapscale.common.errors import Conflict

FILTERS = ("workspace", "user", "llm", "provider", "tag", "agent", "key_source", "status")
OF_FIGURES = ("granularity", "group_by")
MAX_VALUES = 20
MAX_LENGTH = 300
OUTDATED = gettext_noop("The report asks for what is not there for it any more. %(faults)s")
Definition = dict[str, Any]


def parameters_of(kind: str) -> tuple[str, ...]:
    return FILTERS if kind == Report.Kind.CALLS else (*FILTERS, *OF_FIGURES)


def asked(who: Asker, definition: Definition, *, kind: str, window: Window) -> Asked:
    """Raises ValidationError, naming the parameter."""
    params = QueryDict(mutable=True)
    for name, value in _checked(definition, kind).items():
        params.setlist(name, value if isinstance(value, list) else [value])
    return replace(asking.asked_for(who, params), window=window)


def _checked(definition: Definition, kind: str) -> Definition:
    errors = {}
    for name, value in definition.items():
        values = value if isinstance(value, list) else [value]
        if name not in parameters_of(kind):
            errors[name] = ["Unknown parameter."]
        elif len(values) > MAX_VALUES or not all(isinstance(one, str) and len(one) <= MAX_LENGTH for one in values):
            errors[name] = [f"Give a text of at most {MAX_LENGTH} characters, or a list of at most {MAX_VALUES}."]
    if errors:
        raise ValidationError(errors)
    return definition


def frozen(definition: Definition, found: Asked) -> Definition:
    """``definition`` with what its maker's rights made of it: one who may see more later on does not see more of this."""
    fixed = dict(definition)
    if found.workspace is not None:
        fixed["workspace"] = str(found.workspace.pk)
    if found.wanted.user_id is not None:
        fixed["user"] = str(found.wanted.user_id)
    return fixed


def by_its_maker(report: Report, definition: Definition, *, kind: str, window: Window) -> Asked:
    """With the rights that the report's maker has now. Raises Forbidden where they have left, and Conflict where what is
    asked for is not there any more.
    """
    maker = rights.member_of(report.workspace_id, report.created_by_id)
    try:
        return asked(maker, definition, kind=kind, window=window)
    except ValidationError as error:
        details: Any = error.detail
        said = "; ".join(f"{name}: {messages[0]}" for name, messages in details.items())
        raise Conflict(OUTDATED % {"faults": said}, code="report_outdated", details=details) from None


def of_report(report: Report, window: Window, *, reader: Asker) -> Asked:
    """What ``reader`` may see of it now. Raises Forbidden and Conflict."""
    return rights.narrowed(by_its_maker(report, report.definition, kind=report.kind, window=window), reader)


def of_run(run: ReportRun, window: Window, *, reader: Asker) -> Asked:
    """The same of a run, with the definition of then and the rights of now."""
    return rights.narrowed(by_its_maker(run.report, run.definition, kind=run.kind, window=window), reader)
