"""Faults whose messages are sentences of ours, which programs and the database have in English, and pages in the reader's
language.
"""

from __future__ import annotations

from django.utils.translation import gettext


class Spoken(Exception):
    """``str()`` is English, for logs and for what is stored; ``said`` is for pages.

    ``sentence`` is marked with ``gettext_noop``; ``values`` go into its placeholders, and may be such faults themselves.
    """

    def __init__(self, sentence: str, **values: object) -> None:
        super().__init__(sentence % values if values else sentence)
        self._sentence = sentence
        self._values = values

    @property
    def said(self) -> str:
        """The message in the reader's language."""
        text = gettext(self._sentence)
        values = {name: value.said if isinstance(value, Spoken) else value for name, value in self._values.items()}
        return text % values if values else text
