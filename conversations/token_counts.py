"""How many tokens a prompt has, before it is sent: by the vendor's own count where that is free, else an estimate."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from conversations import prompts
from conversations.asks import Ask
from conversations.choices import Plan, check_allowed, check_capabilities, find_llm
from conversations.offers import Asker, prompt_of
from llm import client
from llm.errors import ProviderError, ProviderHostForbidden, ProviderNotConfigured
from llm.keys import credentials_for
from llm.models import LLM
from llm.types import CallRequest, Credentials
from synapscale.common.errors import Unprocessable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Countable:
    llm: LLM
    request: CallRequest
    credentials: Credentials | None
    """None where no key is there to ask the vendor with."""


@dataclass(frozen=True, slots=True)
class Count:
    tokens: int
    is_estimate: bool


def prepare(*, asker: Asker, ask: Ask) -> Countable:
    """What is to be counted. Raises the Refusal that a call of this model would meet."""
    llm = find_llm(ask.llm)
    if llm is None:
        raise Unprocessable(
            f"There is no model “{ask.llm}”.", code="unknown_model", details={"llm": ["Unknown model."]}
        )
    plan = Plan(llm=llm, system=ask.system, wanted_tokens=1, tools=ask.tools or [], response_schema=ask.response_schema)
    check_allowed(llm, ask=ask, workspace=asker.workspace, access_token=asker.access_token)
    check_capabilities(plan, ask)
    try:
        credentials = credentials_for(user=asker.user, workspace=asker.workspace, llm=llm)
    except (ProviderNotConfigured, ProviderHostForbidden):
        credentials = None
    return Countable(llm, prompt_of(plan, ask), credentials)


async def count(countable: Countable) -> Count:
    """The count. A vendor that does not answer is no reason to give none: then it is an estimate."""
    if countable.credentials is not None:
        try:
            tokens = await client.count_tokens(countable.request, countable.credentials)
        except ProviderError as error:
            logger.warning("%s did not count: %s", countable.llm.provider, error.code)
        else:
            if tokens is not None:
                return Count(tokens, is_estimate=False)
    return Count(prompts.estimated_tokens(countable.request, llm=countable.llm), is_estimate=True)
