"""The end of a call: its outcome is saved with usage and charge in one transaction, once, whoever brings it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from billing import holds, ledger
from billing.models import Hold, HoldIncident
from conversations.metering import bill_of, usage_of
from conversations.models import Message
from conversations.outcomes import CallTerms, Outcome
from synapscale.common import stored_words
from synapscale.common.db import retry_transaction
from synapscale.common.money import ZERO

logger = logging.getLogger(__name__)
LATE = gettext_noop("message %(message)s: an answer of %(size)s bytes came after its lease had run out")
stored_words.register("billing.HoldIncident.detail", LATE)
_DRAFT_SECONDS = 3600
"""Writing a draft takes milliseconds; one this old has lost its process."""


def settle(*, workspace_id: uuid.UUID, message_id: uuid.UUID, outcome: Outcome) -> Message:
    """Save ``outcome`` as the final state of a pending answer; the message as it stands afterwards.

    Settling a message that is final already changes nothing. When it was the sweeper that finished it, the late
    answer is noted for the operator. One transaction, tried again when the engine asks for it.
    """
    return retry_transaction(_settle, workspace_id, message_id, outcome.storable())


def _settle(workspace_id: uuid.UUID, message_id: uuid.UUID, outcome: Outcome) -> Message:
    with transaction.atomic(durable=True):
        message = Message.objects.select_for_update(of=("self",)).get(workspace_id=workspace_id, pk=message_id)
        if message.is_final:
            _note_if_late(message, outcome)
            return message
        apply(message, outcome)
        return message


def apply(message: Message, outcome: Outcome) -> None:
    """Make ``outcome`` the final state of ``message``, locked by the caller's transaction, and save it."""
    terms = CallTerms(**message.call["terms"])
    if not terms.keeps_content:
        outcome = outcome.without_content()
    message.status = outcome.status
    message.content = outcome.content
    message.tool_calls = outcome.as_json()["tool_calls"]
    message.finish_reason = outcome.finish_reason
    message.error_code = outcome.error_code
    message.error_message = outcome.error_message
    message.processing_time_ms = outcome.latency_ms
    message.call = {**message.call, "outcome": {**outcome.as_json(), "content": ""}}
    message.call.pop("checkpoint", None)
    message.tokens_used = usage_of(outcome, terms)[0].total
    message.autotag_due_at, message.autotag_for = timezone.now(), "answer"
    message.save()  # post_save meters it: usage, charge and statistics, here or not at all


def _note_if_late(message: Message, outcome: Outcome) -> None:
    if outcome.is_swept or outcome.status == Message.Status.ERROR or message.hold is None:
        return
    if message.hold.state == Hold.State.EXPIRED:
        paid = message.hold.charged or ZERO
        ledger.record_incident(
            hold=message.hold,
            kind=HoldIncident.Kind.LATE_RESULT,
            amount=max(ZERO, bill_of(message, outcome).due - paid),
            detail=LATE % {"message": message.pk, "size": outcome.size},
        )


def spool(*, workspace_id: uuid.UUID, message_id: uuid.UUID, outcome: Outcome) -> None:
    """Put an outcome on disk. Blocking, some milliseconds; needs no database."""
    body = {"workspace": str(workspace_id), "message": str(message_id), "outcome": outcome.storable().as_json()}
    try:
        _write(_spool_path(message_id), json.dumps(body, ensure_ascii=False))
    except OSError as error:  # a full disk must not keep the answer out of the database
        logger.error("the spool can't be written: %s", error.strerror)


def settle_from_spool(
    *, workspace_id: uuid.UUID, message_id: uuid.UUID, outcome: Outcome, was_shown: bool = False
) -> Message:
    """``settle`` what lies in the spool already, and clear it away: a crash in between loses nothing.

    ``was_shown``: the client has seen what was written, even if it can't be stored.
    """
    path = _spool_path(message_id)
    message = _settle_somehow(path, workspace_id, message_id, outcome.storable(), was_shown=was_shown)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()
    return message


def _settle_somehow(
    path: Path, workspace_id: uuid.UUID, message_id: uuid.UUID, outcome: Outcome, *, was_shown: bool
) -> Message:
    """``settle``; where the database refuses the outcome for good, what it used at least, and the file is kept."""
    try:
        return settle(workspace_id=workspace_id, message_id=message_id, outcome=outcome)
    except (OperationalError, InterfaceError, Message.DoesNotExist, holds.HoldGone):
        raise
    except Exception:  # a bug of ours: its money must not stay held, nor what the provider reported be forgotten
        logger.exception("the outcome of message %s can't be stored", message_id)
    less = outcome.unstored(was_shown=was_shown)
    message = settle(workspace_id=workspace_id, message_id=message_id, outcome=less)
    _set_aside(path)
    return message


def replay_spool() -> int:
    """Settle what a crashed process left in the spool; how many outcomes there were."""
    _forget_drafts()
    count = 0
    for path in _spooled():
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            workspace_id, message_id = uuid.UUID(body["workspace"]), uuid.UUID(body["message"])
            outcome = Outcome.from_json(body["outcome"])
        except FileNotFoundError:  # its own process settled it just now
            continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # not one of ours
            logger.error("spool file %s can't be settled: %s", path.name, type(error).__name__)
            _set_aside(path)
            continue
        try:
            _settle_somehow(path, workspace_id, message_id, outcome, was_shown=False)
        except Message.DoesNotExist:  # not one of ours
            logger.error("spool file %s can't be settled: there is no such message", path.name)
            _set_aside(path)
            continue
        except Exception:  # one bad outcome must not keep the others from being settled
            logger.exception("spool file %s not settled, will try again", path.name)
            continue
        path.unlink(missing_ok=True)
        count += 1
    return count


def _set_aside(path: Path) -> None:
    """Keep a file for a person to look at, out of the way of the next replay."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # another process was faster
        path.rename(path.with_suffix(".unreadable"))


def is_spooled(message_id: uuid.UUID) -> bool:
    """Whether the outcome of a message lies in the spool of this machine, on its way to the database."""
    return _spool_path(message_id).exists()


def _spool_path(message_id: uuid.UUID) -> Path:
    return Path(settings.SPOOL_DIR) / f"{message_id}.json"


def _spooled() -> Iterator[Path]:
    yield from sorted(Path(settings.SPOOL_DIR).glob("*.json"))


def _forget_drafts() -> None:
    """Remove what processes left half-written: its call is settled from its checkpoint, and it may hold a user's text."""
    for draft in Path(settings.SPOOL_DIR).glob("*.draft"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _DRAFT_SECONDS:
                draft.unlink()


def _write(path: Path, text: str) -> None:
    """Write and flush to disk, then rename, and flush that: a reader sees the whole file or none, and a machine that
    loses its power has it still. Only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
