"""How often somebody may try to sign in to the back office: counted in the database, for all processes together.

A try is counted before its password is looked at, one after another for each account and address, so guesses that come at
once are as few as those in a row; no lock is held while the password is hashed. One that was right is taken back. Accounts
that don't exist are counted, answered and written down like others, in as many statements. Of what was typed nothing is
stored or logged but a keyed digest: people type their password into the wrong box.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from auditlog.models import LogEntry
from django.db import connection, transaction
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_noop

from synapscale.common import audit
from workspaces.models import SignInAttempt, User

logger = logging.getLogger(__name__)

PAUSE = timedelta(minutes=15)
"""So long a wrong try counts."""
PER_PAIR, PER_ACCOUNT, PER_NETWORK = 5, 25, 50
"""Wrong tries that count, of one account from one address; of one account; from one address."""
KNOWN = timedelta(days=30)
"""So long an address is known from which somebody has signed in. There the first limit alone holds for them, or whoever
guesses from many addresses could keep them out."""
SIGNED_IN = gettext_noop("Signed in.")
FAILED = gettext_noop("Failed to sign in.")
REFUSED = gettext_noop("Sign-in refused: too many wrong passwords.")

_WRONG, _RIGHT, _REFUSED = SignInAttempt.Outcome.WRONG, SignInAttempt.Outcome.RIGHT, SignInAttempt.Outcome.REFUSED
_AT_ONCE = 1000
"""So many rows that count no more are deleted with one try."""


def begin(*, email: str, address: str) -> SignInAttempt | None:
    """Count a try for ``email`` from ``address`` as a wrong one; None, and no look at the password, after too many."""
    account, network = digest(email), network_of(address)
    if (limit := _limit_reached(account, network)) and _is_noted(account, network, limit):
        return None  # before any lock: a flood must not queue up behind itself, with a connection in each hand
    with transaction.atomic():
        _one_after_another(account, network)
        limit = _limit_reached(account, network)
        if not limit:
            _forget()
            return SignInAttempt.objects.create(account=account, network=network, counts_until=Now() + PAUSE)
        if not _is_noted(account, network, limit):
            refused = SignInAttempt.objects.create(
                account=_noted_of(account, limit), network=network, outcome=_REFUSED, counts_until=Now() + PAUSE
            )
            logger.warning("too many wrong passwords at the back office from %s, by %s", network or "nowhere", limit)
            _note(refused, email=email, what=REFUSED)
    return None


def failed(this: SignInAttempt, *, email: str) -> None:
    """Write down that the try was a wrong one."""
    _note(this, email=email, what=FAILED)


def succeeded(this: SignInAttempt, *, user: User) -> None:
    """Take the try back, and the wrong ones of this person from this address before it; remember the address."""
    with transaction.atomic():
        tries = SignInAttempt.objects.filter(account=this.account, network=this.network)
        tries.exclude(outcome=_REFUSED).delete()
        SignInAttempt.objects.create(
            account=this.account, network=this.network, outcome=_RIGHT, counts_until=Now() + KNOWN
        )
        audit.record(user, what=SIGNED_IN, actor=user, action=LogEntry.Action.ACCESS)


def digest(email: str) -> str:
    return salted_hmac("workspaces.sign_ins", email.lower(), algorithm="sha256").hexdigest()


def network_of(address: str) -> str:
    """``address``; of an IPv6 one its /64, for whoever has one of it has them all. Empty where there is none (a socket in
    the file system): those are one.

    >>> network_of("192.0.2.7"), network_of("::ffff:192.0.2.7"), network_of("2001:db8::1:2:3:4%eth0"), network_of("")
    ('192.0.2.7', '192.0.2.7', '2001:db8::/64', '')
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is None:
        return str(ip_network((ip, 64), strict=False))
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def _one_after_another(*keys: str) -> None:
    """Until the commit, tries with any of ``keys`` wait for this one. On SQLite all writers do anyway."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for key in sorted(keys):  # or two could wait for one another
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"sign-in:{key}"])


def _limit_reached(account: str, network: str) -> str:
    """By what there were too many, ``pair``, ``account`` or ``address``; empty while there were not."""
    counting = SignInAttempt.objects.filter(counts_until__gt=Now())
    of_account, of_network = Q(account=account), Q(network=network)
    wrong = counting.filter(of_account | of_network, outcome=_WRONG).aggregate(
        pair=Count("pk", filter=of_account & of_network),
        account=Count("pk", filter=of_account),
        address=Count("pk", filter=of_network),
    )
    if wrong["pair"] >= PER_PAIR:
        return "pair"
    if wrong["account"] < PER_ACCOUNT and wrong["address"] < PER_NETWORK:
        return ""
    if counting.filter(of_account & of_network, outcome=_RIGHT).exists():
        return ""
    return "account" if wrong["account"] >= PER_ACCOUNT else "address"


def _noted_of(account: str, limit: str) -> str:
    """Whom a refusal by ``limit`` is written down of: of an address it is whoever comes from there."""
    return "" if limit == "address" else account


def _is_noted(account: str, network: str, limit: str) -> bool:
    """Whether the refusal stands in the audit log: once, not each time, or a flood of the page would be one of the log."""
    noted = SignInAttempt.objects.filter(account=_noted_of(account, limit), network=network, outcome=_REFUSED)
    return noted.filter(counts_until__gt=Now()).exists()


def _forget() -> None:
    """Delete what counts no more, but for what another try is deleting."""
    over = SignInAttempt.objects.filter(counts_until__lte=Now()).select_for_update(skip_locked=True)
    SignInAttempt.objects.filter(pk__in=over.values("pk")[:_AT_ONCE]).delete()


def _note(this: SignInAttempt, *, email: str, what: str) -> None:
    """In the audit log: with the person, if it is anybody's address, else with the try."""
    user = User.objects.filter(email=email.lower()).first()
    audit.record(user or this, what=what, action=LogEntry.Action.ACCESS)
