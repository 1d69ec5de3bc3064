"""The span of time that a report is about: dates are midnights of the zone, and the end is not part of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from rest_framework.serializers import ValidationError

from conversations.windows import window_of


def test_without_anything_it_is_the_last_30_days() -> None:
    window = window_of({})
    assert window.end - window.start == timedelta(days=30)
    assert timedelta() <= timezone.now() - window.end < timedelta(minutes=1)
    assert window.tz.key == "UTC"


def test_dates_are_midnights_of_the_zone_also_where_the_clocks_change_between_them() -> None:
    window = window_of({"start": "2026-03-29", "end": "2026-03-30", "tz": "Europe/Berlin"})
    assert (window.start, window.end) == (
        datetime(2026, 3, 28, 23, tzinfo=UTC),
        datetime(2026, 3, 29, 22, tzinfo=UTC),
    )
    assert window.as_json() == {
        "start": "2026-03-29T00:00:00+01:00",
        "end": "2026-03-30T00:00:00+02:00",
        "tz": "Europe/Berlin",
    }


def test_times_say_their_offset_or_are_of_the_zone() -> None:
    window = window_of({"start": "2026-10-01T09:00:00Z", "end": "2026-10-01T09:00:00", "tz": "America/Sao_Paulo"})
    assert window.end - window.start == timedelta(hours=3)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("start", "yesterday"),
        ("start", ""),
        ("end", "2026-02-30"),
        ("end", "0001-01-01T00:00:00+14:00"),
        ("end", "0001-01-09"),
        ("start", "9999-12-31"),
        ("tz", "Mars/Olympus"),
        ("tz", "../../etc/passwd"),
        ("tz", ""),
    ],
)
def test_what_is_not_understood_is_refused_by_name(name: str, given: str) -> None:
    with pytest.raises(ValidationError) as refused:
        window_of({name: given})
    assert set(refused.value.detail) == {name}


@pytest.mark.parametrize("start", ["2026-10-01", "2026-10-02"])
def test_the_end_is_later_than_the_start(start: str) -> None:
    with pytest.raises(ValidationError) as refused:
        window_of({"start": start, "end": "2026-10-01"})
    assert set(refused.value.detail) == {"end"}
