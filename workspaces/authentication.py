"""Who is calling: an access token in ``Authorization: Bearer``, ``x-api-key`` or ``x-goog-api-key``, never in the address."""

from __future__ import annotations

import hmac
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from synapscale.common import audit, logs
from synapscale.common.errors import RateLimited, Refusal
from workspaces import tokens, wrong_tokens
from workspaces.models import AccessToken, Membership, User, Workspace

_REFUSED = "The access token is missing, malformed, expired or revoked."
_KEY_HEADERS = ("x-api-key", "x-goog-api-key")
"""Where the SDKs of Anthropic and Google send it; OpenAI's sends a bearer token."""
_KEY_PARAMETERS = {"key", "api_key", "apikey", "api-key", "access_token", "token", "authorization", *_KEY_HEADERS}


class Caller:
    """The user, workspace and role a token stands for; ``request.auth``."""

    def __init__(self, token: AccessToken, membership: Membership) -> None:
        self.token = token
        self.membership = membership
        self.user: User = token.user
        self.workspace: Workspace = token.workspace
        # Read with the token already: whoever goes there from the membership must not ask again.
        membership.user, membership.workspace = self.user, self.workspace


def raw_token(request: Any) -> str:
    """The token as sent, or an empty string."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return next((value for name in _KEY_HEADERS if (value := request.headers.get(name, "").strip())), "")


def refuse_token_in_address(request: Any) -> None:
    """A token in the address is a leaked one: proxies, logs and histories keep it."""
    for name, values in request.GET.lists():
        if name.lower() in _KEY_PARAMETERS and any(map(tokens.looks_like_one, values)):
            raise Refusal(
                "An access token must not stand in the address, which logs keep: send it in a header, and replace this one.",
                code="token_in_address",
                details={"parameter": name.lower()},
            )


def caller_of(raw: str) -> Caller | None:
    """Whom ``raw`` stands for, in two queries; None when it is not valid now. Removed members lose access at once."""
    if not tokens.is_well_formed(raw):
        return None
    digest = tokens.digest(raw)
    token = AccessToken.objects.select_related("user", "workspace").filter(digest=digest).first()
    if token is None or not hmac.compare_digest(token.digest, digest) or not token.is_valid or not token.user.is_active:
        return None
    membership = Membership.objects.filter(workspace_id=token.workspace_id, user_id=token.user_id).first()
    if membership is None:
        return None
    token.touch()
    return Caller(token, membership)


def caller(request: Any) -> Caller:
    """Who is calling, on a request that has passed authentication."""
    who: Caller = request.auth
    return who


class AccessTokenAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        refuse_token_in_address(request)
        raw = raw_token(request)
        if not raw:
            return None
        who = caller_of(raw)
        if who is None:
            if seconds := wrong_tokens.note(request.META.get("REMOTE_ADDR", "")):
                raise RateLimited("Too many wrong access tokens from this address.", retry_after=seconds)
            raise AuthenticationFailed(_REFUSED)
        logs.note_workspace(who.workspace.pk)
        audit.begin(audit.Acting(user=who.user, address=request.META.get("REMOTE_ADDR")))
        return who.user, who

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class _Scheme(OpenApiAuthenticationExtension):
    target_class = AccessTokenAuthentication
    name = ["accessToken", "apiKey", "googleApiKey"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "An access token, `sk-syn-…`."},
            *(
                {"type": "apiKey", "in": "header", "name": name, "description": "The same token."}
                for name in _KEY_HEADERS
            ),
        ]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        return [{name: []} for name in self.name]  # any of them
