"""Back office: wallets, holds and the ledger. Money moves by ``billing.ledger`` alone, asked for in ``billing.money_actions``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from unfold.decorators import action

from billing import money_actions, passwords, recent_moves, wallet_ledger
from billing.models import BillingEvent, Hold, HoldIncident, TokenSpend, Wallet
from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin, OperatorForm, TenantAdmin, ViewOnlyAdmin, row_key
from synapscale.common.amounts import dollars
from synapscale.common.confirming import confirm_page
from synapscale.common.money import MAX_USD, ZERO, usd_text
from workspaces.models import User

MAY_DOWNLOAD = "billing.download_lists"
LEDGER_PAGE = 50


class WalletForm(OperatorForm):
    """The rules of a wallet. To lend much more is to give money: it asks for the password, as moving so much does."""

    user: User
    """Whoever types."""
    lends: Decimal = ZERO
    """How much further below zero the wallet may go by it (USD)."""
    asks: str = ""
    """Why that needed the password."""
    password = passwords.password_field(
        required=False,
        help_text=_("Asked for when what you have moved and lent within an hour comes to much."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if self.errors:
            return cleaned
        before = lendable(self.initial["mode"], self.initial["credit_limit"])
        self.lends = max(lendable(cleaned["mode"], cleaned["credit_limit"]) - before, ZERO)
        self.asks = passwords.reason_to_ask(self.user, self.lends, wallet=self.instance.pk)
        if self.asks:
            if not cleaned.get("password"):
                self.add_error("password", self.asks)
            else:
                passwords.is_their_password(self.user, self)
        return cleaned


def lendable(mode: str, credit_limit: Decimal) -> Decimal:
    """How far below zero a wallet may go."""
    if mode == Wallet.Mode.UNTRACKED:
        return MAX_USD
    return credit_limit if mode == Wallet.Mode.POSTPAID else ZERO


@method_decorator(sensitive_post_parameters("password"))
def _money_page(
    model_admin: OperatorAdmin, request: HttpRequest, action: money_actions.MoneyAction
) -> HttpResponseBase:
    """Answer a request for ``action``. The wallet's page comes after."""
    back = reverse("admin:billing_wallet_change", args=[action.wallet.pk])
    return confirm_page(model_admin, request, action, back=back)


@admin.register(Wallet)
class WalletAdmin(TenantAdmin):
    """The rules of a wallet are changed in its form; its money and its status by actions that ask for a reason. Every
    workspace is born with one, for good.
    """

    list_display = ("workspace", "mode", "status", "balance", "held", "available", "credit_limit", "markup_bps")
    list_filter = ("mode", "status", "created_at")
    list_select_related = ("workspace",)
    search_fields = (
        "workspace__slug__istartswith",
        "workspace__name__istartswith",
        "workspace__memberships__user__email",
    )
    search_help_text = _("An id, the beginning of a workspace's slug or name, or a member's e-mail address.")
    form = WalletForm
    readonly_fields = ("workspace", "created_at")
    fields = ("workspace", "mode", "credit_limit", "markup_bps", "own_key_fee_bps", "password", "created_at")
    # What it has and what moved it are around the form, by the template tag of ``office.wallet_page``.
    change_form_outer_before_template = "admin/billing/wallet/facts.html"
    change_form_outer_after_template = "admin/billing/wallet/newest.html"

    export_permission = MAY_DOWNLOAD
    export_columns = (
        "id", "workspace_id", ("workspace", "workspace__slug"), "mode", "status", "balance", "held", "credit_limit",
        "markup_bps", "own_key_fee_bps", "seq", "created_at",
    )  # fmt: skip

    @admin.display(description=_("available"))
    def available(self, wallet: Wallet) -> str:
        return dollars(wallet.available)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Wallet]:
        return super().get_queryset(request).select_related("workspace")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = super().get_fields(request, obj)
        return names if self.has_change_permission(request, obj) else [name for name in names if name != "password"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.user = request.user
        return form

    @method_decorator(sensitive_post_parameters("password"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(request, *args, **kwargs)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        wallet = super().get_object(request, object_id, from_field)
        if wallet is not None and request.method == "POST":
            assert isinstance(request.user, User)
            passwords.one_after_another(request.user)
            # Its limits are judged by its balance, so until the view commits nobody else moves the balance.
            rows = Wallet.objects.select_for_update(no_key=True)
            locked = rows.get(workspace_id=wallet.workspace_id, pk=wallet.pk)
            locked.workspace = wallet.workspace  # read already, and the page says its name
            return locked
        return wallet

    def save_model(self, request: HttpRequest, obj: Wallet, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.lends:
            facts: dict[str, Any] = {recent_moves.LENT: usd_text(form.lends)}
            if form.asks:
                facts[recent_moves.PASSWORD] = True
            audit.record(obj, what=_("Allowed to owe more."), **facts)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    # Money

    actions_detail = ("top_up", "adjust", "suspend", "reopen", "ledger")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Of “Suspend” and “Open again” only the one that would change something."""
        found = super().get_actions_detail(request, object_id)
        if len({action.path for action in found} & {"suspend", "reopen"}) < 2:
            return found  # they have one permission, so neither is there
        key = row_key(str(object_id))
        is_open = key is None or Wallet.objects.filter(pk=key, status=Wallet.Status.OPEN).exists()
        return [action for action in found if action.path != ("reopen" if is_open else "suspend")]

    # Methods, because a permission named by its text is looked for in the database by a system check.

    def has_top_up_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("billing.top_up_wallet")

    def has_adjust_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("billing.adjust_wallet")

    def has_suspend_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("billing.suspend_wallet")

    def _wallet(self, request: HttpRequest, object_id: str) -> Wallet:
        return get_object_or_404(Wallet.objects.select_related("workspace"), pk=row_key(object_id))

    @action(description=_("Top up"), url_path="top-up", icon="add", permissions=["top_up"])
    def top_up(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return _money_page(self, request, money_actions.TopUp(self._wallet(request, object_id)))

    @action(description=_("Adjust"), url_path="adjust", icon="tune", permissions=["adjust"])
    def adjust(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return _money_page(self, request, money_actions.Adjust(self._wallet(request, object_id)))

    @action(description=_("Suspend"), url_path="suspend", icon="block", permissions=["suspend"])
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return _money_page(self, request, money_actions.Suspend(self._wallet(request, object_id)))

    @action(description=_("Open again"), url_path="reopen", icon="lock_open", permissions=["suspend"])
    def reopen(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return _money_page(self, request, money_actions.Reopen(self._wallet(request, object_id)))

    # The whole ledger

    def has_ledger_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("billing.view_billingevent")

    @action(description=_("Ledger"), url_path="ledger", icon="receipt_long", permissions=["ledger"])
    def ledger(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        wallet = self._wallet(request, object_id)
        before = request.GET.get("before", "")
        number = int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else None
        page = wallet_ledger.page(wallet, size=LEDGER_PAGE, before=number)
        of_workspace = f"workspace__id__exact={wallet.workspace_id}"
        may_download = request.user.has_perm(MAY_DOWNLOAD)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Ledger"),
            "wallet": wallet,
            "wallet_url": reverse("admin:billing_wallet_change", args=[wallet.pk]),
            "ledger": page,
            "newer_url": f"?before={page.newer}",
            "older_url": f"?before={page.older}",
            "oldest_url": f"?before={LEDGER_PAGE + 1}",
            "search_url": f"{reverse('admin:billing_billingevent_changelist')}?{of_workspace}",
            "download_url": may_download and f"{reverse('admin:billing_billingevent_export')}?{of_workspace}",
            "sees_usage": request.user.has_perm("conversations.view_usagelog"),
        }
        return TemplateResponse(request, "admin/billing/wallet/ledger.html", context)


@admin.register(Hold)
class HoldAdmin(ViewOnlyAdmin):
    """A person's holds are found by their usage: here there is no index of people."""

    is_big = True
    list_display = ("created_at", "workspace", "user", "amount", "state", "charged", "lease_until", "resolved_at")
    list_filter = ("state", "is_dispatched", "created_at")
    list_select_related = ("workspace", "user")
    search_fields = ("workspace__slug",)
    search_help_text = _("An id or a workspace's slug.")
    export_permission = MAY_DOWNLOAD
    export_columns = (
        "id", "created_at", "workspace_id", ("workspace", "workspace__slug"), "wallet_id", ("user", "user__email"),
        "access_token_id", "state", "amount", "charged", "is_dispatched", "lease_until", "resolved_at",
    )  # fmt: skip


@admin.register(TokenSpend)
class TokenSpendAdmin(ViewOnlyAdmin):
    list_display = ("workspace", "access_token", "period_start", "spent", "held")
    list_filter = ("period_start", "created_at")
    list_select_related = ("workspace", "access_token")
    search_fields = ("workspace__slug",)
    search_help_text = _("An id or a workspace's slug.")


@admin.register(HoldIncident)
class HoldIncidentAdmin(ViewOnlyAdmin):
    list_display = ("created_at", "workspace", "kind", "amount", "detail")
    list_filter = ("kind", "created_at")
    list_select_related = ("workspace",)
    search_fields = ("workspace__slug",)
    search_help_text = _("An id or a workspace's slug.")


@admin.register(BillingEvent)
class BillingEventAdmin(ViewOnlyAdmin):
    """The ledger. What an event was charged for is found from below, through the usage row that names it."""

    is_big = True
    list_display = (
        "created_at", "workspace", "event_type", "amount_usd", "balance_after", "seq", "user", "reference",
        "related_usage_log", "related_message",
    )  # fmt: skip
    list_filter = ("event_type", "status", "created_at")
    list_select_related = ("workspace", "user")
    list_defer = ("metadata",)
    search_fields = (
        "reference__startswith", "payment_transaction_id", "invoice_id", "workspace__slug", "user__email",
    )  # fmt: skip
    search_help_text = _(
        "An id, the beginning of a reference, a payment's transaction, an invoice, a workspace's slug or a user's "
        "e-mail address."
    )
    readonly_fields = ("refunded", "related_usage_log", "related_message")
    fields = (
        "workspace", "wallet", "user", "event_type", "status", "amount_usd", "refunded", "balance_after", "seq",
        "reference", "description", "related_usage_log", "related_message", "hold", "original", "actor", "payment_provider",
        "payment_transaction_id", "invoice_id", "metadata", "processed_at", "created_at", "id",
    )  # fmt: skip

    export_permission = MAY_DOWNLOAD
    export_columns = (
        "id", "created_at", "workspace_id", ("workspace", "workspace__slug"), "wallet_id", "seq", "event_type", "amount_usd",
        "balance_after", "reference", "description", ("user", "user__email"), ("actor", "actor__email"), "original_id",
        "hold_id", "invoice_id", "payment_provider", "payment_transaction_id", "status",
    )  # fmt: skip

    actions_detail = ("refund",)

    def has_refund_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """For charges; what came in can't be given back."""
        has_it = request.user.has_perm("billing.refund_billingevent")
        return has_it and BillingEvent.objects.filter(pk=row_key(object_id), amount_usd__lt=0).exists()

    @action(description=_("Refund"), url_path="refund", icon="undo", permissions=["refund"])
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        events = BillingEvent.objects.select_related("workspace", "wallet__workspace", "user")
        event = get_object_or_404(events, pk=row_key(object_id))
        return _money_page(self, request, money_actions.Refund(event.wallet, event))

    def get_queryset(self, request: HttpRequest) -> QuerySet[BillingEvent]:
        return super().get_queryset(request).prefetch_related("usage_logs", "original__usage_logs")

    @admin.display(description=_("refunded so far"), empty_value="—")
    def refunded(self, event: BillingEvent) -> str | None:
        return dollars(wallet_ledger.refunded(event)) if event.amount_usd < 0 else None

    @admin.display(description=_("usage log"), empty_value="—")
    def related_usage_log(self, event: BillingEvent) -> str | None:
        log = wallet_ledger.usage_of(event)
        return None if log is None else _link("conversations_usagelog", log.pk)

    @admin.display(description=_("message"), empty_value="—")
    def related_message(self, event: BillingEvent) -> str | None:
        log = wallet_ledger.usage_of(event)
        return None if log is None else _link("conversations_message", log.message_id)


def _link(model: str, key: Any) -> str:
    return format_html('<a href="{}">…{}</a>', reverse(f"admin:{model}_change", args=[key]), str(key)[-12:])
