"""Base models. Every row of the apps has a UUIDv7 key; every tenant row has its workspace, in each join, update and look-up.

The shape (tenant column first in every unique constraint and index, composite foreign keys) is what Citus asks for when
a table is sharded by ``workspace_id``; it can't be added later without a rewrite. On one machine it already stops a row
of one workspace from pointing into another.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.expressions import ResolvedOuterRef
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ReverseManyToOneDescriptor,
    create_reverse_many_to_one_manager,
)
from django.db.models.lookups import Exact
from django.db.models.signals import class_prepared
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from synapscale.common import naming

class_prepared.connect(naming.name, dispatch_uid="naming")


def new_id() -> uuid.UUID:
    """A UUIDv7: ordered by time, and within one process strictly increasing."""
    return uuid7()


class BaseModel(models.Model):
    """A row with a UUIDv7 primary key and its time of creation."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True


class WorkspaceFK(models.ForeignKey):
    """The tenant column. The reverse name on Workspace is the table's: ``workspace.usage_logs``."""

    def __init__(self, to: Any = "workspaces.Workspace", on_delete: Any = models.PROTECT, **kwargs: Any) -> None:
        kwargs["db_index"] = False  # the tenant key (workspace, id) serves it
        super().__init__(to, on_delete, **kwargs)

    def contribute_to_class(self, cls: Any, *args: Any, **kwargs: Any) -> None:
        if not cls._meta.abstract:
            self.remote_field.related_name = cls._meta.db_table
        super().contribute_to_class(cls, *args, **kwargs)


class TenantModel(BaseModel):
    """A row that belongs to a workspace, for good: ``workspace_id`` never changes."""

    workspace = WorkspaceFK()

    class Meta:
        abstract = True
        # What composite foreign keys point at, and the key Citus shards on.
        constraints = [models.UniqueConstraint(fields=["workspace", "id"], name="%(class)s_tenant_key")]

    def _do_update(self, base_qs: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._do_update(base_qs.filter(workspace_id=self.workspace_id), *args, **kwargs)

    def refresh_from_db(self, using: Any = None, fields: Any = None, from_queryset: Any = None) -> None:
        rows: Any = from_queryset if from_queryset is not None else type(self)._base_manager.db_manager(using)
        if "workspace_id" not in self.get_deferred_fields():  # asking a row that was read without it ends up here again
            rows = rows.filter(workspace_id=self.workspace_id)
        super().refresh_from_db(using, fields, rows)


class _TenantForward(ForwardManyToOneDescriptor):
    def get_prefetch_querysets(self, instances: Any, querysets: Any = None) -> Any:
        rows = querysets[0] if querysets else self.get_queryset()  # type: ignore[call-arg]
        workspaces = {instance.workspace_id for instance in instances}
        return super().get_prefetch_querysets(instances, [rows.filter(workspace_id__in=workspaces)])


class _TenantReverse(ReverseManyToOneDescriptor):
    @cached_property
    def related_manager_cls(self) -> Any:
        plain = create_reverse_many_to_one_manager(self.field.model._default_manager.__class__, self.rel)

        class TenantRelatedManager(plain):  # type: ignore[misc, valid-type]
            def __init__(self, instance: Any) -> None:
                super().__init__(instance)
                self.core_filters["workspace_id"] = instance.workspace_id

            def create(self, **kwargs: Any) -> Any:
                return super().create(**self._of_workspace(kwargs))

            def get_or_create(self, **kwargs: Any) -> Any:
                return super().get_or_create(**self._of_workspace(kwargs))

            def update_or_create(self, **kwargs: Any) -> Any:
                return super().update_or_create(**self._of_workspace(kwargs))

            def _of_workspace(self, kwargs: dict[str, Any]) -> dict[str, Any]:
                return {"workspace_id": self.instance.workspace_id, **kwargs}

            def get_prefetch_querysets(self, instances: Any, querysets: Any = None) -> Any:
                rows = querysets[0] if querysets else models.Manager.get_queryset(self)
                workspaces = {instance.workspace_id for instance in instances}
                return super().get_prefetch_querysets(instances, [rows.filter(workspace_id__in=workspaces)])

        return TenantRelatedManager


class TenantFK(models.ForeignKey):
    """A foreign key between two rows of the same workspace.

    Joins, forward look-ups and reverse managers carry ``workspace_id``. In the database it is the composite
    ``(workspace_id, x_id) -> (workspace_id, id)`` on PostgreSQL (see ``common.migrations``), a plain one on SQLite,
    which can't add a constraint to an existing table. It has no index of its own: indexes start with the workspace.
    """

    forward_related_accessor_class = _TenantForward
    related_accessor_class = _TenantReverse

    def __init__(self, to: Any, on_delete: Any = models.PROTECT, **kwargs: Any) -> None:
        kwargs.setdefault("db_index", False)
        kwargs["db_constraint"] = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
        super().__init__(to, on_delete, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("db_constraint", None)  # follows the engine, not the migration
        return name, path, args, kwargs

    def get_extra_restriction(self, alias: str | None, related_alias: str) -> Any:
        there: Any = self.related_model._meta.get_field("workspace")
        here: Any = self.model._meta.get_field("workspace")
        if alias is None:  # an exclude() pushed into a subquery: the other table is the outer query's
            return Exact(here.get_col(related_alias), ResolvedOuterRef("workspace_id"))
        return Exact(there.get_col(alias), here.get_col(related_alias))

    def get_extra_descriptor_filter(self, instance: Any) -> dict[str, Any]:
        return {"workspace_id": instance.workspace_id}


class PeriodicJob(models.Model):
    """How a job of ``common.periodic`` stands; one row for all processes, all times on the database's clock."""

    name = models.CharField(max_length=60, primary_key=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    succeeded_at = models.DateTimeField(null=True)
    running_until = models.DateTimeField(
        null=True, help_text=_("A lease: over when the process that runs it has died.")
    )
    claim = models.UUIDField(null=True, help_text=_("Of the run that holds the lease."))
    runs = models.PositiveBigIntegerField(default=0)
    failures = models.PositiveBigIntegerField(default=0)
    error = models.CharField(
        max_length=100, blank=True, help_text=_("What kind of error the last run ended with; empty after a good one.")
    )

    class Meta:
        db_table = "periodic_jobs"

    def __str__(self) -> str:
        return self.name
