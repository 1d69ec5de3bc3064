"""What mails are written in, and what goes wrong with them. Whoever sends one names the kind of error alone: what mail
servers say may repeat addresses.
"""

from __future__ import annotations

import smtplib
from contextlib import AbstractContextManager

from django.conf import settings
from django.utils import translation

FAILURES = (smtplib.SMTPException, OSError)
"""What a mail server that is away, or refuses, ends in."""
REFUSED = (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)
"""Of these, what says something about one mail; the others would meet the next one as well."""


def language() -> AbstractContextManager[None]:
    """Within this, texts are in the language of mails: nobody's own is known."""
    return translation.override(settings.MAIL_LANGUAGE)
