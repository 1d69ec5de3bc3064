"""Numbers and money as people of a language read them. What programs read is written by ``usd_text``."""

from __future__ import annotations

from decimal import Decimal

from django.utils import formats
from django.utils.translation import pgettext

from synapscale.common.money import usd_text


def digits(amount: Decimal) -> str:
    """``amount`` to its last digit, at least to the cent, with the language's separators: ``1,234.50``, ``1.234,50``."""
    text = usd_text(amount)
    places = len(text.partition(".")[2])
    return formats.number_format(Decimal(text), decimal_pos=places, use_l10n=True, force_grouping=True)


def dollars(amount: Decimal) -> str:
    """The same as money: ``$1,234.50``, ``-$0.000052``, ``US$ 1.234,50``."""
    # Translators: an amount of US dollars, after its sign
    text = pgettext("money", "$%(amount)s") % {"amount": digits(abs(amount))}
    return f"-{text}" if amount < 0 else text
