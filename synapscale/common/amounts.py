"""Numbers and money as people of a language read and type them. What programs read is written by ``usd_text``."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from synapscale.common.money import usd_text


def digits(amount: Decimal) -> str:
    """``amount`` to its last digit, at least to the cent: ``1,234.50``, or ``1.234,50`` where people write it so."""
    text = usd_text(amount)
    places = len(text.partition(".")[2])
    return formats.number_format(Decimal(text), decimal_pos=places, use_l10n=True, force_grouping=True)


def plain(number: Decimal) -> str:
    """``number`` to its last digit, and none more: ``1,234.5``, ``3``."""
    whole_part, _point, places = format(number, "f").partition(".")
    places = places.rstrip("0")
    text = Decimal(f"{whole_part}.{places or 0}")
    return formats.number_format(text, decimal_pos=len(places), use_l10n=True, force_grouping=True)


def dollars(amount: Decimal) -> str:
    """The same as money: ``$1,234.50``, ``-$0.000052``, ``US$ 1.234,50``."""
    return signed(digits(abs(amount)), is_negative=amount < 0)


def signed(number: str, *, is_negative: bool) -> str:
    """``number``, written already, as an amount of money."""
    text = pgettext("money", "$%(amount)s") % {"amount": number}
    return f"-{text}" if is_negative else text


def whole(number: int) -> str:
    """``1,234``, ``1.234``."""
    return formats.number_format(number, decimal_pos=0, use_l10n=True, force_grouping=True)


def rounded(number: Decimal, places: int) -> str:
    """``number`` to ``places`` after the point, where Django's own format cuts digits off."""
    number = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return formats.number_format(number, decimal_pos=places, use_l10n=True, force_grouping=True)


def milliseconds(value: int | None) -> str:
    """``850 ms``, ``4.2 s``; a dash where nothing was measured."""
    if value is None:
        return "–"
    if value < 1000:
        return _("%(number)s ms") % {"number": whole(value)}
    return _("%(number)s s") % {"number": rounded(Decimal(value) / 1000, 1)}


def typed(text: str) -> str:
    """What somebody typed as a number, the way ``Decimal`` reads it; what is none is given back, to be refused.

    Points and commas between groups of three digits are taken as the language has them: ``1.500`` is fifteen hundred in
    Portuguese and one and a half in English. A point that can't stand between groups (``12.50``, ``0.125``) is a decimal
    point everywhere; a comma only where it is one.
    """
    text = text.strip()
    point, group = (formats.get_format(f"{name}_SEPARATOR") for name in ("DECIMAL", "THOUSAND"))
    grouped = rf"([-+]?[1-9]\d{{0,2}}(?:{re.escape(group)}\d{{3}})+)(?:{re.escape(point)}(\d+))?"
    if found := re.fullmatch(grouped, text, re.ASCII):
        return f"{found[1].replace(group, '')}.{found[2] or '0'}"
    if re.fullmatch(rf"[-+]?\d*{re.escape(point)}\d+", text, re.ASCII):
        return text.replace(point, ".")
    return text


def for_typing(number: Decimal) -> str:
    """``number`` as a box for it starts: what ``typed`` reads, without groups."""
    point: str = formats.get_format("DECIMAL_SEPARATOR")
    return usd_text(number).replace(".", point)
