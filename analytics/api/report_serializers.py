"""Shapes of reports and their runs, in and out."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.core.validators import RegexValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from analytics import tables
from analytics.models import Report, ReportRun
from analytics.reports import definitions
from conversations import windows
from synapscale.common.parsing import StrictCharField, StrictFields, StrictIntegerField, StrictModelSerializer

MAX_RECIPIENTS = 50
_TEXT_OR_TEXTS = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


@extend_schema_field(
    {
        "type": "object",
        "properties": dict.fromkeys(definitions.parameters_of(Report.Kind.FIGURES), _TEXT_OR_TEXTS),
        "additionalProperties": False,
        "description": "The filters of `analytics/usage`, and for figures its `group_by` and `granularity`.",
    }
)
class DefinitionField(serializers.JSONField):
    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Give an object of parameters and their values.")
        return data


class ReportSerializer(StrictModelSerializer):
    """A report: what to tell of which calls, and when."""

    name = StrictCharField(
        max_length=100, validators=[RegexValidator(r"^[^\x00-\x1f\x7f]*$", "A name is one line of text.")]
    )
    definition = DefinitionField(required=False)
    start = StrictCharField(
        required=False, allow_null=True, max_length=40, help_text="Of a `fixed` period: a date or a time."
    )
    end = StrictCharField(
        required=False, allow_null=True, max_length=40, help_text="Of a `fixed` period; before then, not with it."
    )
    tz = StrictCharField(required=False, max_length=64, help_text="Like `America/Sao_Paulo`; otherwise UTC.")
    hour = StrictIntegerField(
        required=False, min_value=0, max_value=23, help_text="When it runs by schedule, as clocks in `tz` show it."
    )
    recipients = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        max_length=MAX_RECIPIENTS,
        help_text="Members of the workspace who get a link by e-mail when it has run by schedule.",
    )

    class Meta:
        model = Report
        fields = [
            "id",
            "name",
            "kind",
            "definition",
            "period",
            "start",
            "end",
            "tz",
            "schedule",
            "hour",
            "recipients",
            "format",
            "created_by",
            "next_run_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["id", "created_by", "next_run_at", "created_at", "updated_at"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """What was given, as the model has it. Raises ValidationError, naming the field."""
        report = self.instance
        assert report is None or isinstance(report, Report)
        tz = windows.zone(attrs.get("tz", report.tz if report else "UTC"))
        period = attrs.get("period", report.period if report else "")
        for name in ("start", "end"):
            if (text := attrs.pop(name, None)) is None:
                continue
            if period != Report.Period.FIXED:
                raise serializers.ValidationError({name: ["Only a fixed period has one."]})
            attrs[f"{name}_at"] = windows.moment(text, name, tz)
        if "recipients" in attrs:
            attrs["recipients"] = [str(key) for key in attrs["recipients"]]
        return attrs

    def to_representation(self, instance: Report) -> dict[str, Any]:
        return {**super().to_representation(instance), **_window(instance)}


def _window(row: Report | ReportRun) -> dict[str, str | None]:
    tz = ZoneInfo(row.tz)
    times = {"start": row.start_at, "end": row.end_at}
    return {name: None if moment is None else tables.local(moment, tz) for name, moment in times.items()}


class ReportRunSerializer(serializers.ModelSerializer[ReportRun]):
    """A run: a report with its window fixed."""

    start = serializers.DateTimeField(read_only=True, source="start_at")
    end = serializers.DateTimeField(read_only=True, source="end_at")
    rows = serializers.SerializerMethodField(help_text="How many, where that is known and not more than one may see.")
    download = serializers.SerializerMethodField(help_text="Where it can be downloaded, with an access token.")

    class Meta:
        model = ReportRun
        fields = [
            "id",
            "report",
            "asked_by",
            "due_at",
            "kind",
            "definition",
            "start",
            "end",
            "tz",
            "format",
            "state",
            "rows",
            "error",
            "download",
            "created_at",
            "finished_at",
        ]
        read_only_fields = fields

    def get_rows(self, run: ReportRun) -> int | None:
        return run.rows if self.context.get("sees_all") else None

    def get_download(self, run: ReportRun) -> str:
        return f"/api/v1/analytics/reports/{run.report_id}/runs/{run.pk}/download"

    def to_representation(self, instance: ReportRun) -> dict[str, Any]:
        return {**super().to_representation(instance), **_window(instance)}


class NothingSerializer(StrictFields, serializers.Serializer[Any]):
    """An empty body."""
