"""Settings as environment variables say them."""

from __future__ import annotations

import os
from decimal import Decimal, InvalidOperation

from django.core.exceptions import ImproperlyConfigured


def env(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def env_bool(name: str, default: bool = False) -> bool:
    return env(name, str(int(default))).lower() in {"1", "true", "yes", "on"}


def env_int(name: str, default: int) -> int:
    try:
        return int(env(name, str(default)))
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number.") from None


def env_decimal(name: str, default: str) -> Decimal:
    try:
        found = Decimal(env(name, default))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise ImproperlyConfigured(f"{name} must be an amount like 100 or 0.50.")
    return found


def env_list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in env(name, default).split(",") if part.strip()]
