"""What an OpenAI-compatible host offers, and taking one of its models into the catalogue.

A source is a private host that an operator entered, or ``llama``: the host at ``LLAMA_BASE_URL``. What a host says of
itself is a list of ids; what a model can do and what it costs is said by the operator, and never guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from llm import client, connections
from llm.errors import ProviderModelNotFound, ProviderNotConfigured
from llm.models import LLM, LLMPrice, ProviderConnection, ProviderName
from llm.types import Credentials
from synapscale.common.db import in_db

Source = ProviderConnection | Literal["llama"]

MAX_ID_CHARACTERS = 150

CAPABILITIES = {
    column.name.removeprefix("supports_"): column.name
    for column in LLM._meta.concrete_fields
    if column.name.startswith("supports_")
}
"""What a model can do, and the column that says so."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model that a host offers."""

    id: str
    """As the host calls it."""
    name: str
    """As the catalogue calls it, without the provider."""
    llm: LLM | None
    """The model of the catalogue, if it is there already."""

    @property
    def is_imported(self) -> bool:
        return self.llm is not None


async def list_models(source: Source) -> list[Found]:
    """The models that the host offers, by id. Raises ``llm.errors.ProviderError``."""
    return await in_db(_compare, source, await _ask(source))


def list_models_now(source: Source) -> list[Found]:
    """``list_models`` for code that waits for it: pages of the back office and commands."""

    async def ask() -> list[str]:
        try:
            return await _ask(source)
        finally:
            await client.aclose_all()  # they belong to this event loop, which ends here

    return _compare(source, asyncio.run(ask()))


async def _ask(source: Source) -> list[str]:
    credentials = _credentials(source)
    try:
        return [name for name in await client.list_models(credentials) if is_model_id(name)]
    except ProviderModelNotFound as error:
        message = gettext_noop("There is no list of models at this base URL.")
        raise ProviderModelNotFound(message, provider=error.provider, status_code=error.status_code) from None


def _credentials(source: Source) -> Credentials:
    if isinstance(source, ProviderConnection):
        return connections.credentials(source)
    house = settings.PROVIDERS[source]
    if not house["api_key"]:
        raise ProviderNotConfigured(
            gettext_noop("No key is configured for %(source)s."), values={"source": source}, provider=source
        )
    return Credentials(provider=source, api_key=house["api_key"], base_url=house["base_url"])


def is_model_id(text: str) -> bool:
    return 1 <= len(text) <= MAX_ID_CHARACTERS and text.isprintable() and " " not in text


def name_of(source: Source, model_id: str) -> str:
    """A model's name in the catalogue: two private hosts may call different models by the same id."""
    return f"{source.slug}/{model_id}" if isinstance(source, ProviderConnection) else model_id


def _compare(source: Source, ids: Iterable[str]) -> list[Found]:
    known = {llm.name: llm for llm in LLM.objects.filter(**_place(source))}
    return [Found(id=name, name=name_of(source, name), llm=known.get(name_of(source, name))) for name in ids]


def _place(source: Source) -> dict[str, Any]:
    if isinstance(source, ProviderConnection):
        return {"provider": ProviderName.PRIVATE, "connection": source}
    return {"provider": source}


# --- Importing ------------------------------------------------------------------------------------------------------


def import_model(
    *,
    source: Source,
    model_id: str,
    display_name: str,
    context_window: int,
    max_output_tokens: int,
    capabilities: Iterable[str],
    input_usd_per_mtok: Decimal | None,
    output_usd_per_mtok: Decimal | None,
    cached_input_usd_per_mtok: Decimal | None = None,
    request_fee_usd: Decimal = Decimal(0),
) -> LLM:
    """A model of the host in the catalogue, callable from now on at this price: USD per million tokens, and per call.

    ``capabilities`` are keys of ``CAPABILITIES``. Input and output must have a price; a model that is free costs 0,
    said so. Raises ValidationError that names the argument, and writes nothing then.
    """
    errors: dict[str, Any] = {}
    supported = set(capabilities)
    if not is_model_id(model_id):
        errors["model_id"] = _("An id has 1 to %(number)s printable characters, and no spaces.") % {
            "number": MAX_ID_CHARACTERS
        }
    if unknown := supported - CAPABILITIES.keys():
        errors["capabilities"] = _("There is no such capability: %(name)s.") % {"name": min(unknown)}
    prices = {"input_usd_per_mtok": input_usd_per_mtok, "output_usd_per_mtok": output_usd_per_mtok}
    errors |= {name: _("A price is required; free is 0.") for name, price in prices.items() if price is None}
    if errors:
        raise ValidationError(errors)
    llm = LLM(
        **_place(source),
        name=name_of(source, model_id),
        display_name=display_name,
        context_window=context_window,
        max_output_tokens=max_output_tokens,
        is_active=True,
        **{column: capability in supported for capability, column in CAPABILITIES.items()},
    )
    _check(llm)
    try:
        with transaction.atomic():
            llm.save(force_insert=True)
            LLMPrice.supersede(
                llm=llm,
                effective_from=timezone.now(),
                input_usd_per_mtok=input_usd_per_mtok,
                output_usd_per_mtok=output_usd_per_mtok,
                cached_input_usd_per_mtok=cached_input_usd_per_mtok,
                request_fee_usd=request_fee_usd,
                source=f"Entered at the import from {source}.",
            )
    except IntegrityError:  # somebody else was faster
        raise _duplicate(llm) from None
    return llm


def _check(llm: LLM) -> None:
    if LLM.objects.filter(provider=llm.provider, name=llm.name).exists():
        raise _duplicate(llm)
    try:
        llm.full_clean(validate_constraints=False)
    except ValidationError as error:
        errors: dict[str, Any] = error.update_error_dict({})
        raise ValidationError(
            {"model_id" if name == "name" else name: fault for name, fault in errors.items()}
        ) from None
    if not 1 <= llm.max_output_tokens <= llm.context_window:
        raise ValidationError(
            {"max_output_tokens": _("An answer has at least one token, and fits the context window.")}
        )


def _duplicate(llm: LLM) -> ValidationError:
    return ValidationError({"model_id": _("%(llm)s is in the catalogue already.") % {"llm": llm}})
