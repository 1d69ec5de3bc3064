"""Back office: tags, the rules that set them, and what carries them. What the API refuses is refused here as well."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from synapscale.common import audit, panels
from synapscale.common.admin import OperatorForm, TenantAdmin, ViewOnlyAdmin, across_tenants
from synapscale.common.badges import badge
from synapscale.common.errors import Refusal
from tagging import rules, tag_pages, vocabulary
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
    name = forms.CharField(label=_("Name"), widget=UnfoldAdminTextInputWidget)
    value = forms.CharField(required=False, label=_("Value"), widget=UnfoldAdminTextInputWidget)
    category = forms.CharField(required=False, label=_("Category"), widget=UnfoldAdminTextInputWidget)

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
    search_help_text = _("An id, the beginning of a tag or a workspace's slug.")
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
        return [str(tag) for tag in tags], {gettext("tags"): len(tags), gettext("links"): carriers}, set(), []

    def save_model(self, request: HttpRequest, obj: Tag, form: Any, change: bool) -> None:
        """Nothing: the form has stored it."""

    def delete_model(self, request: HttpRequest, obj: Tag) -> None:
        vocabulary.delete(obj)


class TagRuleForm(OperatorForm):
    """A rule, whose settings are what its condition understands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "condition" in self.fields:
            choices = {one.key: gettext(one.title) for one in rules.all_conditions()}
            if self.instance.condition:
                choices.setdefault(self.instance.condition, self.instance.condition)
            self.fields["condition"] = forms.ChoiceField(
                label=_("Condition"), choices=[("", "—"), *choices.items()], widget=UnfoldAdminSelectWidget()
            )

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
            said = gettext("The tag “%(tag)s” is set by the system only.") % {"tag": tag}
            self.add_error("tag", ValidationError(said))
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        # It is not typed, but says which rules a name has to differ from.
        return super()._get_validation_exclusions() - {"is_builtin"}


@admin.register(TagRule)
class TagRuleAdmin(TenantAdmin):
    """Rules are switched off, not deleted: what they have set names them."""

    form = TagRuleForm
    list_display = (
        "created_at", "workspace", "called", "watched", "is_active", "is_builtin", "confidence_score", "waiting", "precision",
    )  # fmt: skip
    list_filter = ("is_active", "is_builtin", "created_at")
    list_select_related = ("workspace",)
    list_defer = ("settings",)
    search_fields = ("name__istartswith", "workspace__slug")
    search_help_text = _("An id, the beginning of a name or a workspace's slug.")
    autocomplete_fields = ("workspace", "tag")
    readonly_fields = ("is_builtin", "created_by", "created_at", "updated_at")
    fixed_fields = ("workspace",)
    add_fields = ("workspace", "name", "condition", "settings", "tag", "confidence_score", "is_active")
    fields = (*add_fields, *readonly_fields)
    _of_builtin: ClassVar[dict[str, str]] = {"name": "called", "condition": "watched"}
    """What is not typed where a rule is built in, and how it is shown there."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = super().get_readonly_fields(request, obj)
        return [*names, *self._of_builtin.values(), *self._of_builtin] if obj is not None and obj.is_builtin else names

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = super().get_fields(request, obj)
        return [self._of_builtin.get(name, name) if obj is not None and obj.is_builtin else name for name in names]

    @admin.display(description=_("name"), ordering="name")
    def called(self, rule: TagRule) -> str:
        return rule.shown_name

    @admin.display(description=_("condition"), ordering="condition")
    def watched(self, rule: TagRule) -> str:
        return rules.title_of(rule.condition)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With what people think of the rules that are shown."""
        changelist = super().get_changelist_instance(request)
        shown = list(changelist.result_list)
        found = rules.opinions(shown) if shown else {}
        for rule in shown:
            rule.record = found.get(rule.pk, rules.Record())
        changelist.result_list = shown
        return changelist

    @admin.display(description=_("suggestions waiting"))
    def waiting(self, rule: Any) -> str | int:
        if not rule.record.suggested:
            return 0
        return format_html('<a href="{}">{}</a>', tag_pages.waiting_url(rule), rule.record.suggested)

    @admin.display(description=_("precision"))
    def precision(self, rule: Any) -> str:
        return tag_pages.precision(rule.record)

    def save_model(self, request: HttpRequest, obj: TagRule, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = operator(request)
        super().save_model(request, obj, form, change)


@admin.register(TagLink)
class TagLinkAdmin(ViewOnlyAdmin):
    """What is suggested is decided here as well: by a click in its row, on its page, or many at once."""

    is_big = True
    list_display = (
        "created_at", "workspace", "tag", "target", "status", "origin", "rule", "confidence_score", "decision",
    )  # fmt: skip
    list_filter = ("state", "origin", "created_at")
    list_select_related = ("workspace", "tag", "rule")
    list_before_template = "admin/tagging/taglink/waiting.html"
    search_ids = ("pk", "workspace_id", "target_id")
    search_fields = ("workspace__slug",)
    search_help_text = _("An id, the id of what carries it or a workspace's slug.")
    actions = ("accept", "reject")  # type: ignore[assignment]  # of rules, not of money

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return operator(request).has_perm("tagging.change_taglink")

    def get_queryset(self, request: HttpRequest) -> QuerySet[TagLink]:
        return super().get_queryset(request).select_related("workspace", "tag", "rule")

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        names = super().get_list_display(request)
        return names if self.has_decide_permission(request) else [name for name in names if name != "decision"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {**tag_pages.waiting(), **(extra_context or {})})

    @admin.display(description=_("what carries it"))
    def target(self, link: TagLink) -> str:
        return tag_pages.target(link)

    @admin.display(description=_("state"), ordering="state")
    def status(self, link: TagLink) -> SafeString:
        kinds: dict[str, Any] = {"suggested": "warning", "rejected": "danger", "applied": "success"}
        return badge(link.get_state_display(), kinds[link.state])

    @admin.display(description=_("decide"))
    def decision(self, link: TagLink) -> str:
        return tag_pages.buttons(link)

    # One by one

    def get_urls(self) -> list[URLPattern]:
        urls = super().get_urls()
        pages = []
        for name, accepts in (("accept", True), ("reject", False)):
            view = partial(self.decide_view, accepts=accepts)
            page = self.admin_site.admin_view(require_POST(across_tenants(view)))
            pages.append(path(f"<uuid:pk>/{name}/", page, name=f"tagging_taglink_{name}"))
        return [*pages, *urls]

    def decide_view(self, request: HttpRequest, pk: uuid.UUID, *, accepts: bool) -> HttpResponseBase:
        if not self.has_decide_permission(request):
            raise PermissionDenied
        self._decide(request, TagLink.objects.filter(pk=pk), accepts=accepts)
        return HttpResponseRedirect(tag_pages.back_from(request))

    # Many at once

    @admin.action(description=_("Accept the selected suggestions"), permissions=["decide"])
    def accept(self, request: HttpRequest, queryset: QuerySet[TagLink]) -> None:
        self._decide(request, queryset, accepts=True)

    @admin.action(description=_("Reject the selected suggestions"), permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: QuerySet[TagLink]) -> None:
        self._decide(request, queryset, accepts=False)

    def _decide(self, request: HttpRequest, queryset: QuerySet[TagLink], *, accepts: bool) -> None:
        user = operator(request)
        decided = []
        what = _("Accepted.") if accepts else _("Rejected.")
        for link in queryset.filter(state=TagLink.State.SUGGESTED).select_related("tag"):
            with transaction.atomic():
                rows = TagLink.objects.select_for_update(no_key=True).filter(workspace_id=link.workspace_id, pk=link.pk)
                if not rows.filter(state=TagLink.State.SUGGESTED).exists():
                    continue  # the rule has withdrawn it meanwhile, or somebody else was first
                rules.decide(link, accepts=accepts, user=user, now=timezone.now())
                audit.record(link, what=what, changes={"state": (TagLink.State.SUGGESTED, link.state)})
                decided.append(link)
        said = gettext("Accepted: %(count)d.") if accepts else gettext("Rejected: %(count)d.")
        level = messages.SUCCESS if decided else messages.WARNING
        self.message_user(request, said % {"count": len(decided)}, level)


panels.add_panel(TagLink, tag_pages.LINK_PANEL)
panels.add_panel(TagRule, tag_pages.RULE_PANEL)
