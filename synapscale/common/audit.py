"""The audit log: who changed or read what, when and from where, what it was before and what it is now.

django-auditlog keeps the entries. ``track`` has it note each ``save()`` and ``delete()`` of a model; what is written in
another way (``QuerySet.update``, actions) is noted by ``record``, and whoever reads what customers wrote by
``record_reading``. Entries are never changed or deleted: a trigger refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any

from auditlog import receivers
from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from synapscale.common import logs
from synapscale.common.models import TenantModel
from synapscale.common.tenancy import fleet_wide

HIDDEN = "•••"
"""Stands for a value that no log may hold."""
TEST_BEGUN, TESTED = gettext_lazy("Test begun."), gettext_lazy("Tested.")
"""Two entries for a call to a provider, which is made in no transaction: one before it, one with its result."""
Change = tuple[Any, Any]
"""Before and after."""
_STAMPS = frozenset({"created_at", "updated_at"})
_nameless: set[type[Model]] = set()


class Acting:
    """Somebody who is at work: a request in the back office, or a person who called the API."""

    def __init__(self, *, request: HttpRequest | None = None, user: Any = None, address: str | None = None) -> None:
        self._request, self._user = request, user
        self.address = _ip_address(address or (request.META.get("REMOTE_ADDR", "") if request else ""))
        self.is_operator = request is not None

    @property
    def user(self) -> Any:
        user = self._user if self._request is None else getattr(self._request, "user", None)
        return user if user is not None and user.is_authenticated else None


def _ip_address(text: str) -> str | None:
    """``text``, if it is one: of a socket in the file system, or behind a proxy, it may be anything, and the database takes
    no entry with anything else.
    """
    try:
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


_acting: ContextVar[Acting | None] = ContextVar("acting", default=None)


def begin(acting: Acting | None) -> None:
    """From here on it is ``acting`` who changes things; None: nobody in particular."""
    _acting.set(acting)


@contextmanager
def acts(user: Any) -> Iterator[None]:
    """Within this, ``user`` changes things as an operator does: for commands and jobs, and for what staff do through the
    API.
    """
    present = _acting.get()
    acting = Acting(user=user, address=present.address if present else None)
    acting.is_operator = True
    token = _acting.set(acting)
    try:
        yield
    finally:
        _acting.reset(token)


# --- What is noted by itself ----------------------------------------------------------------------------------------


def hidden(value: str) -> str:
    """What the log holds instead of a masked ``value``."""
    return HIDDEN


def track(
    model: type[Model],
    *,
    without: tuple[str, ...] = (),
    masked: tuple[str, ...] = (),
    lists: tuple[str, ...] = (),
    is_nameless: bool = False,
) -> None:
    """Note what ``save()`` and ``delete()`` do to rows of ``model``.

    Of the fields ``without`` nothing is noted; of ``masked`` ones that they changed; ``lists`` are many-to-many fields.
    Rows of tenants are noted where an operator changes them: what customers do with their own is no operator's doing, and
    on the road of messages. A model that ``is_nameless`` names itself by what customers wrote, so its rows go by their key.
    """
    fields = [field.name for field in model._meta.concrete_fields if field.name not in {*without, *_STAMPS}]
    auditlog.register(
        model,
        include_fields=fields,
        mask_fields=list(masked),
        mask_callable="synapscale.common.audit.hidden",
    )
    for name in lists:
        through = getattr(model, name).through
        m2m_changed.connect(_list_changed(name), sender=through, weak=False, dispatch_uid="synapscale.audit")
    if not issubclass(model, TenantModel):
        # Whoever listens to deletions has Django delete row by row, by key: a tenant's rows go by their workspace.
        post_delete.connect(_deleted, sender=model, dispatch_uid="synapscale.audit")
    if is_nameless:
        _nameless.add(model)


def _is_noted(model: type[Model], raw: bool = False) -> bool:
    """Whether to note a change. Fixtures are ``raw``: what they load was never anybody's change."""
    if raw:
        return False
    acting = _acting.get()
    return not issubclass(model, TenantModel) or (acting is not None and acting.is_operator)


def _in_english() -> Any:
    """The log is in one language, whatever the one is that changes something, or names the row."""
    return translation.override("en")


def _noted_fields(model: type[Model]) -> set[str]:
    return {*auditlog.get_model_fields(model)["include_fields"]}


def _created(sender: type[Model], **kwargs: Any) -> None:
    if _is_noted(sender, kwargs.get("raw", False)):
        with _in_english():
            receivers.log_create(sender=sender, **kwargs)


def _changed(sender: type[Model], **kwargs: Any) -> None:
    names = kwargs.get("update_fields")
    if names is not None and not {sender._meta.get_field(name).name for name in names} & _noted_fields(sender):
        return  # counters and stamps
    if _is_noted(sender, kwargs.get("raw", False)):
        with fleet_wide(), _in_english():  # the row as it was is looked up by its key
            receivers.log_update(sender=sender, **kwargs)


def _deleted(sender: type[Model], **kwargs: Any) -> None:
    with _in_english():
        receivers.log_delete(sender=sender, **kwargs)


def _list_changed(name: str) -> Callable[..., None]:
    """What listens to changes of the many-to-many field ``name``: rows are put down by what they are called."""
    note = receivers.make_log_m2m_changes(name)

    def changed(**kwargs: Any) -> None:
        with _in_english():
            note(**kwargs)

    return changed


# The package's own receivers look at all models alike; it has no other way to put ours in their place.
auditlog._signals = {post_save: _created, pre_save: _changed}


@receiver(pre_save, sender=LogEntry, dispatch_uid="synapscale.audit")
def _sign(sender: Any, instance: LogEntry, **kwargs: Any) -> None:
    """Write down who it was, from where, and in which request."""
    acting = _acting.get()
    if acting is not None:
        instance.actor = instance.actor or acting.user
        instance.remote_addr = instance.remote_addr or acting.address
    instance.actor_email = instance.actor_email or getattr(instance.actor, "email", None)
    instance.cid = instance.cid or logs.request_id.get() or None
    model = instance.content_type.model_class()
    if model in _nameless:
        instance.object_repr = _by_key(model, instance.object_pk)


def _by_key(model: type[Model], key: Any) -> str:
    with _in_english():
        return f"{model._meta.verbose_name} {key}"


def name_of(row: Model) -> str:
    """How the log, and the page of a history, call a row."""
    return _by_key(type(row), row.pk) if type(row) in _nameless else str(row)


# --- What is noted by hand ------------------------------------------------------------------------------------------


def record(
    row: Model,
    *,
    what: str | Promise,
    changes: Mapping[str, Change] | None = None,
    actor: Any = None,
    action: int = LogEntry.Action.UPDATE,
    **facts: Any,
) -> LogEntry:
    """Note ``what`` was done to ``row``, in English whatever language is spoken, with each changed field before and after.

    ``facts`` (plain JSON values) are kept beside it. ``actor`` is needed only where nobody is acting: see ``begin``.
    """
    written = {name: [_text(before), _text(after)] for name, (before, after) in (changes or {}).items()}
    with _in_english():
        said = str(what)
        entry: LogEntry = LogEntry.objects.log_create(
            row,
            force_log=True,
            action=action,
            changes=written or None,
            actor=actor,
            additional_data={"what": said, **facts},
        )
    return entry


def record_deletion(row: Model) -> None:
    """Note that ``row`` goes by a statement that sends no signal, with all that it was."""
    _deleted(sender=type(row), instance=row)


def record_new_secret(row: Any, *, before: str = "") -> None:
    """Note that the secret of ``row`` is another one, where its ``hint`` (the end of it, which is noted) does not say so:
    two can end alike, and of short ones nothing is kept.
    """
    if getattr(row, "hint", "") == before:
        record(row, what=gettext_lazy("The secret was replaced or removed."))


def _text(value: Any) -> str:
    return "None" if value is None else str(value)


def record_reading(request: HttpRequest, row: Model, **facts: Any) -> LogEntry:
    """Note that somebody read what customers wrote, before it is shown: if this fails, nothing is."""
    return record(row, what="Read what was written.", actor=request.user, action=LogEntry.Action.ACCESS, **facts)
