"""Every error an endpoint may answer with, in the one shape."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, serializers, status
from rest_framework.response import Response

from synapscale.common import metrics
from synapscale.common.errors import Refusal
from synapscale.common.masking import masked, masked_all

logger = logging.getLogger(__name__)

API_PREFIXES = ("/api/", "/v1/")
"""Where programs call, which read JSON. Elsewhere people look at pages."""
OFFICE = "/admin/"
"""The pages of operators."""
_CODES = {
    400: "bad_request",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}


def error_body(code: str, message: str, *, details: Any = None, request: Any = None) -> dict[str, Any]:
    """The one shape of an error. It tells what was wrong, but repeats no key that was sent by mistake."""
    return {
        "error": {
            "code": code,
            "message": masked(message),
            "details": masked_all(details or {}),
            "request_id": getattr(request, "request_id", ""),
        }
    }


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Every exception a view may raise, as a response; None lets an unexpected one become a 500."""
    response = _response_to(error, context)
    if response is not None:
        metrics.REFUSALS.labels(metrics.code(response.data["error"]["code"])).inc()
    return response


def _response_to(error: Exception, context: dict[str, Any]) -> Response | None:
    request = context.get("request")
    if isinstance(error, ModelValidationError):
        error = exceptions.ValidationError(serializers.as_serializer_error(error))
    if isinstance(error, Refusal):
        response = Response(
            error_body(error.code, error.message, details=error.details, request=request), status=error.status
        )
        if error.retry_after is not None:
            response["Retry-After"] = str(error.retry_after)
        for name, value in error.headers.items():
            response[name] = value
        return response
    if isinstance(error, RequestDataTooBig):
        return Response(error_body("request_too_large", "The request body is too large.", request=request), status=413)
    if isinstance(error, OperationalError):
        logger.error("database unavailable: %s", type(error.__cause__ or error).__name__)
        response = Response(
            error_body("database_unavailable", "The database is not available; nothing was changed.", request=request),
            status=status.HTTP_503_SERVICE_UNAVAILABLE,
        )
        response["Retry-After"] = "5"
        return response
    from rest_framework.views import exception_handler as drf_exception_handler  # imports the settings that name us

    plain = drf_exception_handler(error, context)
    if plain is None:
        return None
    if isinstance(error, exceptions.ValidationError):
        details = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
        plain.data = error_body(
            "invalid", next(messages_of(details), "The input is not valid."), details=details, request=request
        )
    else:
        message = "Not found." if isinstance(error, Http404) else str(getattr(error, "detail", "") or error)
        if isinstance(error, PermissionDenied):
            message = "You may not do this."
        plain.data = error_body(_CODES.get(plain.status_code, "error"), message, request=request)
    return plain


def messages_of(details: Any, path: str = "") -> Iterator[str]:
    """``field: what is wrong with it``, of each field that is wrong."""
    if isinstance(details, dict):
        for key, value in details.items():
            inner = path if key == "non_field_errors" else f"{path}.{key}" if path else str(key)
            yield from messages_of(value, inner)
    elif isinstance(details, list):
        for index, item in enumerate(details):
            if item:
                yield from messages_of(item, f"{path}[{index}]" if isinstance(item, dict | list) else path)
    else:
        yield f"{path}: {details}" if path else str(details)


def unknown_host(request: HttpRequest) -> JsonResponse:
    return JsonResponse(
        error_body("unknown_host", "This is not a host name of this server.", request=request), status=400
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django refuses before a view has seen it. It says why in the log; clients need not know."""
    if not request.path.startswith(API_PREFIXES):
        return defaults.bad_request(request, exception)
    return JsonResponse(error_body("bad_request", "The request can't be read.", request=request), status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not request.path.startswith(API_PREFIXES):
        return defaults.permission_denied(request, exception)
    return JsonResponse(error_body("permission_denied", "You may not do this.", request=request), status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(OFFICE):
        return defaults.page_not_found(request, exception)
    return JsonResponse(error_body("not_found", "There is nothing at this address.", request=request), status=404)


def server_error(request: HttpRequest) -> JsonResponse:
    return JsonResponse(error_body("internal_error", "Something went wrong on our side.", request=request), status=500)
