"""What happens here that apps above may have to follow."""

from django.dispatch import Signal

token_rotated = Signal()
"""``old`` and ``new``: AccessTokens, in the transaction that put the one in the place of the other."""
