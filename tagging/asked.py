"""What ``?tag=`` of a request asks for: of a list, or of a report on what tags cost."""

from __future__ import annotations

from typing import Protocol

from rest_framework.serializers import ValidationError

from tagging.names import NotATag, Pattern, parse_pattern

PARAMETER = "tag"
MAX_PATTERNS = 10


class Query(Protocol):
    """The parameters of a request."""

    def getlist(self, key: str) -> list[str]: ...


def patterns_of(query: Query) -> list[Pattern]:
    """The tags, and beginnings of tags, that ``query`` names, each once. Raises ValidationError, naming the parameter."""
    try:
        found = list(dict.fromkeys(parse_pattern(text) for text in query.getlist(PARAMETER)))
    except NotATag as error:
        raise ValidationError({PARAMETER: [str(error)]}) from None
    if len(found) > MAX_PATTERNS:
        raise ValidationError({PARAMETER: [f"At most {MAX_PATTERNS} tags."]})
    return found
