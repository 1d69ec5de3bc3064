"""A provider key is in no answer, no row, no log, and no report of an error."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client
from django.views.debug import SafeExceptionReporterFilter

from tests.people import Person
from workspaces.models import UserVariable

KEY, OTHER = "sk-own-0123456789-abcd", "sk-new-9876543210-wxyz"


def test_a_key_is_sealed_in_the_database_and_in_no_log(alice: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    one = "user-variables/api-keys/openai"
    pages = [alice.put(one, {"key": KEY}), alice.get(one), alice.get("user-variables"), alice.patch(one, {})]
    assert all(KEY not in page.content.decode() for page in pages)
    row = UserVariable.objects.values().get()
    assert KEY not in str(row)
    assert KEY.encode() not in bytes(row["ciphertext"])
    assert KEY not in caplog.text


@pytest.mark.parametrize("is_new", [True, False])
def test_a_report_of_an_error_shows_no_key(alice: Person, monkeypatch: pytest.MonkeyPatch, is_new: bool) -> None:
    """What an operator may be sent of a 500 hides the request's body and every variable that the key was in."""
    if not is_new:
        alice.put("user-variables/api-keys/openai", {"key": OTHER})
    reported: list[Any] = []

    def break_down(*args: Any) -> Any:
        raise RuntimeError("no more chance to be had")

    monkeypatch.setattr("workspaces.crypto.os.urandom", break_down)
    monkeypatch.setattr("django.core.handlers.exception.log_response", lambda *args, **fields: reported.append(fields))
    response = Client(raise_request_exception=False).put(
        "/api/v1/user-variables/api-keys/openai", {"key": KEY}, "application/json", headers=alice.headers
    )
    assert response.status_code == 500
    request, traceback = reported[0]["request"], reported[0]["exception"].__traceback__
    assert request.sensitive_post_parameters == "__ALL__"
    shown = {}
    while traceback is not None:
        frame = traceback.tb_frame
        shown[frame.f_code.co_name] = repr(SafeExceptionReporterFilter().get_traceback_frame_variables(request, frame))
        traceback = traceback.tb_next
    assert {"put", "_set", "set_key", "set_secret", "set_value", "encrypt"} <= set(shown)
    assert [name for name, variables_ in shown.items() if KEY in variables_] == []
