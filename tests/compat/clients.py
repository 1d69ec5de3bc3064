"""The real SDKs, pointed at the running server by base URL and key alone, and what the tests of both share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.people import Person
from workspaces.models import UserVariable, Workspace

SDKS: dict[str, Any] = {"openai": openai, "anthropic": anthropic}
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
OSLO = {"id": "call_1", "name": "weather", "arguments": '{"city": "Oslo"}'}
ROME = {"id": "call_2", "name": "weather", "arguments": '{"city": "Rome"}'}
OWN_KEY = "sk-alices-own-0123456789-wxyz"


@dataclass(frozen=True)
class Clients:
    """Clients of the server at ``url``. They do not try again unless a test says so: it would hide what was answered."""

    url: str

    def openai(self, person: Person, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(**self._options("/v1", person, options))

    def openai_async(self, person: Person, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**self._options("/v1", person, options))

    def anthropic(self, person: Person, **options: Any) -> anthropic.Anthropic:
        return anthropic.Anthropic(**self._options("", person, options))

    def anthropic_async(self, person: Person, **options: Any) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(**self._options("", person, options))

    def ask(self, sdk: str, person: Person, model: str, *, retries: int = 0, key: str = "", **fields: Any) -> Any:
        """Ask “Hello” in the protocol of ``sdk``; ``key`` is the Idempotency-Key."""
        fields = {"model": model, "messages": HELLO, "max_tokens": 100, **fields}
        if key:
            fields["extra_headers"] = {"Idempotency-Key": key}
        if sdk == "openai":
            return self.openai(person, max_retries=retries).chat.completions.create(**fields)
        return self.anthropic(person, max_retries=retries).messages.create(**fields)

    def refused(self, kind: str, sdk: str, person: Person, model: str, **fields: Any) -> Any:
        """The error that asking raises, after checking of what kind it is."""
        with pytest.raises(SDKS[sdk].APIStatusError) as caught:
            self.ask(sdk, person, model, **fields)
        assert type(caught.value).__name__ == kind
        assert caught.value.request_id == caught.value.response.headers["x-request-id"]
        return caught.value

    def post(self, person: Person, path: str, body: Any, **headers: str) -> httpx2.Response:
        return httpx2.post(f"{self.url}/v1/{path}", json=body, headers={**person.headers, **headers}, timeout=30)

    def get(self, person: Person, path: str, **headers: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}/v1/{path}", headers={**person.headers, **headers}, timeout=30)

    def _options(self, path: str, person: Person, options: dict[str, Any]) -> dict[str, Any]:
        return {"base_url": self.url + path, "api_key": person.token, "max_retries": 0, "timeout": 30, **options}


def set_own_key(owner: Person | Workspace, provider: str, key: str = OWN_KEY) -> None:
    """A provider key of a person's own, or of a workspace."""
    whose = {"workspace": owner} if isinstance(owner, Workspace) else {"user": owner.user}
    variable = UserVariable(category=UserVariable.Category.API_KEY, name=provider, **whose)
    variable.set_value(key)
    variable.save()


def code_of(error: Any) -> str:
    """Our own code of an SDK's exception."""
    return str(error.code if isinstance(error, openai.APIError) else error.error_code)


def text_of(answer: Any) -> str:
    """What an answer of either SDK says."""
    if isinstance(answer, anthropic.types.Message):
        return "".join(block.text for block in answer.content if block.type == "text")
    return str(answer.choices[0].message.content)


def lines_of(response: httpx2.Response) -> list[str]:
    """The lines of an event stream that say something."""
    return [line for line in response.text.split("\n") if line]
