"""Addresses that name a provider, ``llm/{provider}/…``, and the views that stand there."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from llm.models import ProviderName
from synapscale.common.errors import NotFound

PROVIDER = r"llm/(?P<provider>[^/]+)"
PROVIDER_PARAMETER = OpenApiParameter("provider", location="path", enum=ProviderName.values)


class OfProvider:
    """Mixed into a view: where there is no such provider there is nothing, for whoever may ask."""

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        if kwargs["provider"] not in ProviderName.values:
            raise NotFound("There is no such provider.")
