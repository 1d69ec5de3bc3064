"""Back office: what of the figures is looked at there."""

from analytics.report_admin import ReportAdmin, ReportMailAdmin, ReportRunAdmin

__all__ = ["ReportAdmin", "ReportMailAdmin", "ReportRunAdmin"]
