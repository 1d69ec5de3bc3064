"""Views that show, with each row, the tags that it carries."""

from __future__ import annotations

from typing import Any

from tagging import links, vocabulary
from tagging.models import Tag
from workspaces.authentication import caller


class ShowsTags:
    """Mixed into a viewset of what can be tagged. One query for a page, and one for a row."""

    tag_type: str
    """What ``target_type`` calls its rows."""
    request: Any
    action: str

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)  # type: ignore[misc]
        self._load(page)
        return page

    def get_object(self) -> Any:
        row = super().get_object()  # type: ignore[misc]
        if self.action in {"retrieve", "partial_update"}:
            self._load([row])
        return row

    def _load(self, rows: Any) -> None:
        links.load(rows, target_type=self.tag_type, workspace_id=caller(self.request).workspace.pk)

    def tags_given(self, data: dict[str, Any]) -> list[Tag] | None:
        """The tags that a body names, taken out of it; None where it says nothing of tags. Raises a Refusal."""
        labels = data.pop("tag_labels", None)
        return None if labels is None else vocabulary.resolve(labels, workspace_id=caller(self.request).workspace.pk)

    def set_tags(self, row: Any, tags: list[Tag] | None) -> None:
        """Let ``tags`` be what people have put on ``row``, and show what it carries then."""
        if tags is not None:
            who = caller(self.request)
            target = links.Target(self.tag_type, row.pk)
            links.replace(tags, target, workspace_id=who.workspace.pk, user=who.user)
        self._load([row])
