"""What can go wrong at a provider, in our own words.

Messages are written here, never copied from upstream: a provider's 401 body can repeat part of the key that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_noop

from synapscale.common.spoken import Spoken


class ProviderError(Spoken):
    """A call to a model provider failed.

    ``code`` is stable and goes to clients, ``is_retryable`` says whether the same call can succeed later,
    ``retry_after`` is in seconds where the provider named a time, ``status_code`` is the provider's HTTP status
    (None when no answer came), ``http_status`` is what our own API answers with. ``may_be_billed`` says that the provider
    was at work when the call broke off: made again by itself, it would be paid for twice. ``values`` go into the
    placeholders of the message.
    """

    code = "provider_error"
    http_status = 502
    is_retryable = False
    may_be_billed = False
    default_message = gettext_noop("The model provider could not answer.")

    def __init__(
        self,
        message: str = "",
        *,
        values: Mapping[str, object] | None = None,
        provider: str = "",
        status_code: int | None = None,
        retry_after: float | None = None,
        provider_request_id: str = "",
    ) -> None:
        super().__init__(message or self.default_message, **(values or {}))
        self.provider = provider
        self.status_code = status_code
        self.retry_after = retry_after
        self.provider_request_id = provider_request_id

    @property
    def message(self) -> str:
        return str(self)


class ProviderAuthenticationError(ProviderError):
    code = "provider_authentication_failed"
    default_message = gettext_noop("The provider refused the key.")


class ProviderPermissionError(ProviderError):
    code = "provider_permission_denied"
    default_message = gettext_noop("The provider does not let this key use this model.")


class ProviderModelNotFound(ProviderError):
    code = "provider_model_not_found"
    default_message = gettext_noop("The provider does not know this model.")


class ProviderRequestRefused(ProviderError):
    code = "provider_request_refused"
    http_status = 422
    default_message = gettext_noop("The provider refused the request as invalid.")


class ContextLengthExceeded(ProviderRequestRefused):
    code = "context_length_exceeded"
    default_message = gettext_noop("The conversation is longer than the model's context window.")


class ProviderRateLimited(ProviderError):
    code = "provider_rate_limited"
    http_status = 503
    is_retryable = True
    default_message = gettext_noop("The provider is limiting the rate of calls.")


class ProviderQuotaExhausted(ProviderError):
    code = "provider_quota_exhausted"
    http_status = 503
    default_message = gettext_noop("The account at the provider has no credit left.")


class ProviderUnavailable(ProviderError):
    """5xx, overload, or no connection."""

    code = "provider_unavailable"
    http_status = 503
    is_retryable = True
    default_message = gettext_noop("The provider is not available.")


class ProviderTimeout(ProviderError):
    code = "provider_timeout"
    http_status = 504
    is_retryable = True
    default_message = gettext_noop("The provider did not answer in time.")


class StreamInterrupted(ProviderError):
    """The stream broke off or came garbled after it had begun. What had arrived is kept and charged as an estimate."""

    code = "provider_stream_interrupted"
    default_message = gettext_noop("The provider's answer broke off.")


class ProviderNotConfigured(ProviderError):
    code = "provider_not_configured"
    http_status = 503
    default_message = gettext_noop("No key is configured for this provider.")


class PaidFallbackForbidden(ProviderNotConfigured):
    code = "paid_fallback_forbidden"
    http_status = 403
    default_message = gettext_noop(
        "There is no own key for this provider, and you let no call fall back to paid credit."
    )


class ProviderHostForbidden(ProviderError):
    """The host, or the address that its name has now, is none that may be connected to (``llm.hosts``)."""

    code = "provider_host_forbidden"
    http_status = 422
    default_message = gettext_noop("The provider's host may not be connected to.")
