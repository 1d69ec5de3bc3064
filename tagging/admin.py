"""Back office: tags, the rules that set them, and what carries them. What the API refuses is refused here as well."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextInputWidget

from synapscale.common import audit
from synapscale.common.admin import OperatorForm, TenantAdmin, ViewOnlyAdmin
from synapscale.common.errors import NotFound, Refusal
from tagging import rules, vocabulary
from tagging.models import Tag, TagLink, TagRule
from workspaces.models import User


def operator(request: HttpRequest) -> User:
    """Who is signed in to the back office."""
    assert isinstance(request.user, User)
    return request.user


class TagForm(OperatorForm):
    """A tag, written by ``vocabulary`` as the last step of its validation: only that knows what is in the way.

    The view's transaction spans both, and nothing is checked afterwards.
    """

    # The model's fields end where a normalised text does; what is typed may be longer.
    name = forms.CharField(widget=UnfoldAdminTextInputWidget)
    value = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget)
    category = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget)

    operator: User

    def _post_clean(self) -> None:
        # Not the model's own checks: they would see the text before it is normalised.
        if self.errors:
            return
        given = {name: self.cleaned_data[name] for name in ("name", "value", "category", "metadata")}
        try:
            if self.instance._state.adding:
                workspace = self.cleaned_data["workspace"]
                self.instance = vocabulary.create(workspace_id=workspace.pk, created_by=self.operator, **given)
            elif self.changed_data:
                self.instance = vocabulary.change(self.instance, **given)
        except Refusal as refusal:
            _say(self, refusal)


def _say(form: forms.ModelForm, refusal: Refusal) -> None:
    """Show a refusal at the field that it names."""
    field = next((name for name in refusal.details if name in form.fields), None)
    form.add_error(field, ValidationError(refusal.message, code=refusal.code))


@admin.register(Tag)
class TagAdmin(TenantAdmin):
    """People's tags. Those of the system are looked at; deleting one takes it off whatever carries it."""

    form = TagForm
    list_display = ("created_at", "workspace", "label", "category", "is_system", "created_by")
    list_filter = ("is_system", "created_at")
    list_select_related = ("workspace", "created_by")
    list_defer = ("metadata",)
    search_fields = ("label__startswith", "workspace__slug")
    search_help_text = "An id, the beginning of a tag or a workspace's slug."
    autocomplete_fields = ("workspace",)
    readonly_fields = ("label", "is_system", "created_by", "created_at", "updated_at")
    fixed_fields = ("workspace",)
    add_fields = ("workspace", "name", "value", "category", "metadata")
    fields = (*add_fields, *readonly_fields)
    actions = None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.operator = operator(request)
        return form

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj is not None and obj.is_system)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Past the base class, which lets nobody delete: a tag is only a word, and who carries it is looked after.
        if obj is None or obj.is_system:
            return False
        has_it = operator(request).has_perm("tagging.delete_tag")
        return has_it and not TagRule.objects.filter(workspace_id=obj.workspace_id, tag=obj).exists()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Not the page of thousands of links that Django would make, all of them protected."""
        tags = list(objs)
        carriers = sum(TagLink.objects.filter(workspace_id=tag.workspace_id, tag=tag).count() for tag in tags)
        return [str(tag) for tag in tags], {"tags": len(tags), "links": carriers}, set(), []

    def save_model(self, request: HttpRequest, obj: Tag, form: Any, change: bool) -> None:
        """Nothing: the form has stored it."""

    def delete_model(self, request: HttpRequest, obj: Tag) -> None:
        vocabulary.delete(obj)


class TagRuleForm(OperatorForm):
    """A rule, whose settings are what its condition understands."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        condition = cleaned.get("condition", self.instance.condition)
        settings = cleaned.get("settings", self.instance.settings)
        is_new = (condition, settings) != (self.instance.condition, self.instance.settings)
        if not self.errors and (is_new or self.instance._state.adding):
            # Not always: a rule can be switched off when nobody knows its condition any more.
            try:
                cleaned["settings"] = rules.checked(condition, settings)
            except Refusal as refusal:
                _say(self, refusal)
        if (tag := cleaned.get("tag")) is not None and tag.is_system:
            self.add_error("tag", f"The tag “{tag}” is set by the system only.")
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        # It is not typed, but says which rules a name has to differ from.
        return super()._get_validation_exclusions() - {"is_builtin"}


@admin.register(TagRule)
class TagRuleAdmin(TenantAdmin):
    """Rules are switched off, not deleted: what they have set names them."""

    form = TagRuleForm
    list_display = ("created_at", "workspace", "name", "condition", "is_active", "is_builtin", "confidence_score")
    list_filter = ("is_active", "is_builtin", "created_at")
    list_select_related = ("workspace",)
    list_defer = ("settings",)
    search_fields = ("name__istartswith", "workspace__slug")
    search_help_text = "An id, the beginning of a name or a workspace's slug."
    autocomplete_fields = ("workspace", "tag")
    readonly_fields = ("is_builtin", "created_by", "created_at", "updated_at")
    fixed_fields = ("workspace",)
    add_fields = ("workspace", "name", "condition", "settings", "tag", "confidence_score", "is_active")
    fields = (*add_fields, *readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = super().get_readonly_fields(request, obj)
        return [*names, "name", "condition"] if obj is not None and obj.is_builtin else names

    def save_model(self, request: HttpRequest, obj: TagRule, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = operator(request)
        super().save_model(request, obj, form, change)


@admin.register(TagLink)
class TagLinkAdmin(ViewOnlyAdmin):
    """What is suggested can be decided here as well."""

    is_big = True
    list_display = (
        "created_at", "workspace", "tag", "target_type", "target_id", "state", "origin", "confidence_score",
    )  # fmt: skip
    list_filter = ("state", "origin", "created_at")
    list_select_related = ("workspace", "tag")
    search_ids = ("pk", "workspace_id", "target_id")
    search_fields = ("workspace__slug",)
    search_help_text = "An id, the id of what carries it or a workspace's slug."
    actions = ("accept", "reject")  # type: ignore[assignment]  # of rules, not of money

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return operator(request).has_perm("tagging.change_taglink")

    @admin.action(description="Accept the selected suggestions", permissions=["decide"])
    def accept(self, request: HttpRequest, queryset: QuerySet[TagLink]) -> None:
        self._decide(request, queryset, accepts=True)

    @admin.action(description="Reject the selected suggestions", permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: QuerySet[TagLink]) -> None:
        self._decide(request, queryset, accepts=False)

    def _decide(self, request: HttpRequest, queryset: QuerySet[TagLink], *, accepts: bool) -> None:
        user, word = operator(request), "Accepted" if accepts else "Rejected"
        decided = []
        for link in queryset.filter(state=TagLink.State.SUGGESTED).select_related("tag"):
            try:
                decided.append(rules.decide(link, accepts=accepts, user=user, now=timezone.now()))
            except NotFound:
                continue  # the rule has withdrawn it meanwhile
        for link in decided:
            audit.record(link, what=f"{word}.", changes={"state": (TagLink.State.SUGGESTED, link.state)})
        self.message_user(request, f"{word}: {len(decided)}.", messages.SUCCESS if decided else messages.WARNING)
