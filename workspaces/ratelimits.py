from __future__ import annotations

import uuid
from dataclasses import dataclass

from workspaces.models import AccessToken, Workspace


@dataclass(frozen=True, slots=True)
class RateState:
    pass


def take(*, workspace: Workspace, access_token: AccessToken | None, tokens: int) -> list[RateState]:
    return []


def give_back(*, workspace_id: uuid.UUID, access_token_id: uuid.UUID | None, tokens: int) -> None:
    return None


def headers(states: list[RateState]) -> dict[str, str]:
    return {}
