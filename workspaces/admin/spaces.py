"""Back office: workspaces, and who belongs to which."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from synapscale.common.admin import OperatorAdmin, PresentingInline, row_key
from synapscale.common.confirming import confirm_page
from workspaces.admin.space_deeds import Reopen, Suspend
from workspaces.models import HAS_ONE_MEMBER, KEEPS_AN_OWNER, Membership, Workspace

INLINE_MEMBERS = 100
"""A workspace with more members shows none of them on its own page: the list of memberships has pages and a search."""


class MembersFormSet(forms.BaseInlineFormSet):
    """The members there are, looked at together: each alone would find another owner."""

    def clean(self) -> None:
        super().clean()
        kept = [form for form in self.initial_forms if form not in self.deleted_forms]
        had_owner = any(form.initial.get("role") == Membership.Role.OWNER for form in self.initial_forms)
        if had_owner and not any(form.instance.role == Membership.Role.OWNER for form in kept):
            raise ValidationError(KEEPS_AN_OWNER)


class MembershipInline(PresentingInline):
    """The members there are. The person is text: a chooser for each would be a query for each."""

    model = Membership
    formset = MembersFormSet
    fields = ("user", "role", "created_at")
    readonly_fields = ("user", "created_at")
    verbose_name_plural = _("members")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "workspace")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewMembershipForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        super().clean()
        # Django leaves the parent out when it looks at the constraints of a row on its parent's page.
        user = self.cleaned_data.get("user")
        if user and Membership.objects.filter(workspace_id=self.instance.workspace_id, user=user).exists():
            self.add_error("user", ValidationError(gettext("This person is a member already.")))
        return self.cleaned_data


class NewMembersFormSet(forms.BaseInlineFormSet):
    """The members to be added, counted together."""

    def clean(self) -> None:
        super().clean()
        added = [form for form in self.extra_forms if form.has_changed() and form not in self.deleted_forms]
        there = 0 if self.instance._state.adding else self.instance.memberships.count()
        if added and self.instance.kind == Workspace.Kind.INDIVIDUAL and there + len(added) > 1:
            raise ValidationError(HAS_ONE_MEMBER)


class NewMembershipInline(PresentingInline):
    """The members to be added."""

    model = Membership
    form = NewMembershipForm
    formset = NewMembersFormSet
    fields = ("user", "role")
    autocomplete_fields = ("user",)
    verbose_name = _("new member")
    verbose_name_plural = _("new members")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).none()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Workspace)
class WorkspaceAdmin(OperatorAdmin):
    """Tenants. They are suspended, never deleted, and that is asked for with a reason."""

    list_display = ("name", "slug", "kind", "status", "default_model", "created_at")
    list_filter = ("kind", "status", "created_at")
    search_fields = ("slug__istartswith", "name__istartswith", "memberships__user__email")
    search_help_text = _("An id, the beginning of a slug or a name, or a member's e-mail address.")
    readonly_fields = ("status", "created_at")
    prepopulated_fields = {"slug": ("name",)}
    add_fieldsets = ((None, {"fields": ("name", "slug", "kind")}),)
    fieldsets = (
        (None, {"fields": ("name", "slug", "kind", "status", "created_at")}),
        (_("Models"), {"fields": ("allowed_models", "default_model", "fallback_models", "max_tokens_cap")}),
        (_("Limits"), {"fields": ("requests_per_minute", "tokens_per_minute")}),
        (
            _("Contents and feedback"),
            {"fields": ("keeps_api_content", "exports_feedback_content", "feedback_alert_email")},
        ),
        (_("Tags"), {"fields": ("tags_automatically", "autotag_threshold")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Workspace]:
        rows = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == "workspaces_workspace_change":
            rows = rows.annotate(member_count=Count("memberships"))  # the page has few queries to spare
        return rows

    actions_detail = ("suspend", "reopen")

    def offers(self, row: Any, action: str) -> bool:
        return bool(row.is_open == (action == "suspend"))

    def _workspace(self, object_id: str) -> Workspace:
        return get_object_or_404(Workspace, pk=row_key(object_id))

    @action(description=_("Suspend"), url_path="suspend", icon="block", permissions=["change"])
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        workspace = self._workspace(object_id)
        return confirm_page(self, request, Suspend(workspace), back=_page(workspace))

    @action(description=_("Open again"), url_path="reopen", icon="lock_open", permissions=["change"])
    def reopen(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        workspace = self._workspace(object_id)
        return confirm_page(self, request, Reopen(workspace), back=_page(workspace))

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        if getattr(obj, "member_count", 0) > INLINE_MEMBERS:
            return [NewMembershipInline]
        return [MembershipInline, NewMembershipInline]


def _page(workspace: Workspace) -> str:
    return reverse("admin:workspaces_workspace_change", args=[workspace.pk])


@admin.register(Membership)
class MembershipAdmin(OperatorAdmin):
    list_display = ("user", "workspace", "role", "created_at")
    list_filter = ("role", "created_at")
    list_select_related = ("user", "workspace")
    search_ids = ("pk", "user_id", "workspace_id")
    search_fields = ("user__email", "workspace__slug")
    search_help_text = _("An id, a user's e-mail address or a workspace's slug.")
    autocomplete_fields = ("user", "workspace")
    readonly_fields = ("created_at",)
    fixed_fields = ("user", "workspace")
    add_fields = ("user", "workspace", "role")
    fields = ("user", "workspace", "role", "created_at")
    is_deletable = True

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What would leave a workspace without an owner is shown as what stands in the way."""
        *found, protected = super().get_deleted_objects(objs, request)
        owners = [membership for membership in objs if membership.role == Membership.Role.OWNER]
        others = Membership.objects.filter(role=Membership.Role.OWNER).exclude(pk__in=[owner.pk for owner in owners])
        spaces = others.filter(workspace__in=[owner.workspace_id for owner in owners])
        safe = set(spaces.values_list("workspace_id", flat=True))
        last = [f"{owner}. {KEEPS_AN_OWNER}" for owner in owners if owner.workspace_id not in safe]
        return *found, [*protected, *last]
