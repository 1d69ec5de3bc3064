"""A receiver of webhooks on a real port, and alerts as tests look at them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from django.utils import timezone

from analytics.alerting.delivering import Report, deliver_due
from analytics.models import Alert, AlertDelivery, AlertRule, WebhookEndpoint
from synapscale.common.tenancy import fleet_wide
from tests.people import Person
from workspaces.models import Workspace

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "alerts.md"


def documented_verify() -> Any:
    """The function of docs/alerts.md, as a reader would paste it."""
    code = DOCUMENT.read_text().partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    return names["verify"]


@dataclass
class Received:
    """One request, as it came over the wire."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def alert(self) -> Any:
        return self.document["data"]["alert"]


class Listener:
    """Answers 204, or what is next in ``answers``: a status, or a status and headers."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: deque[tuple[int, dict[str, str]]] = deque()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                listener.received.append(Received(self.path, headers, body))
                status, more = listener.answers.popleft() if listener.answers else (204, {})
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    @property
    def events(self) -> list[str]:
        return [one.document["type"] for one in self.received]

    @contextmanager
    def running(self) -> Iterator[Listener]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def make_endpoint(workspace: Workspace | None, url: str, **fields: Any) -> tuple[WebhookEndpoint, str]:
    """An endpoint that operators allowed to be on this machine, and its secret."""
    endpoint = WebhookEndpoint(workspace=workspace, url=url, **{"allows_private_addresses": True, **fields})
    secret = endpoint.new_secret()
    endpoint.save(force_insert=True)
    return endpoint, secret


def make_rule(workspace: Workspace | None = None, **fields: Any) -> AlertRule:
    """Watches what each user of a workspace costs: more than a millionth of a dollar in an hour is too much."""
    given = {
        "name": "Cost",
        "condition": "cost",
        "scope": "user",
        "window_seconds": 3600,
        "threshold": "0.000001",
        "settings": {"of": "provider_cost"},
        **fields,
    }
    return AlertRule.objects.create(workspace=workspace, **given)


def alerts() -> list[Alert]:
    with fleet_wide():
        return list(Alert.objects.select_related("rule").order_by("pk"))


def deliveries() -> list[AlertDelivery]:
    with fleet_wide():
        return list(AlertDelivery.objects.order_by("pk"))


def deliver(now: datetime | None = None) -> Report:
    return asyncio.run(deliver_due(now=now))


def fire(workspace: Workspace, rule: AlertRule | None = None, **fields: Any) -> Alert:
    now = timezone.now()
    given = {
        "rule": rule or make_rule(name=f"Rule {now.isoformat()}"),
        "subject_kind": "workspace",
        "subject_id": "1",
        "subject_label": "Acme",
        "severity": "warning",
        "value": 2,
        "threshold": 1,
        "explanation": "Two is more than one.",
        "fired_at": now,
        "last_seen_at": now,
        **fields,
    }
    return Alert.objects.create(workspace=workspace, **given)


def listed(person: Person, path: str = "analytics/alerts", **query: Any) -> list[str]:
    response = person.get(path, **query)
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]
