"""What goes wrong with mails. Whoever sends one names the kind of error alone: what mail servers say may repeat addresses."""

from __future__ import annotations

import smtplib

FAILURES = (smtplib.SMTPException, OSError)
"""What a mail server that is away, or refuses, ends in."""
REFUSED = (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)
"""Of these, what says something about one mail; the others would meet the next one as well."""
