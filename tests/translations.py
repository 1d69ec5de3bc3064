"""The texts of the back office and their translations.

    python -m tests.translations

brings ``locale/`` up to date with the code: texts that are new get an empty place, those that are gone lose theirs, and
``django.mo``, which is what Django reads, is compiled. Neither xgettext nor msgfmt is needed.

The texts are those of our own code and templates, the names that models and their fields have by themselves
(``common.naming``), and those texts of packages that come without a translation.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
LOCALE = "pt_BR"
PO = ROOT / "locale" / LOCALE / "LC_MESSAGES" / "django.po"
MO = PO.with_suffix(".mo")
KEYWORDS: dict[str, Any] = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
    "BadPrice": None,  # llm/pricing.py, which knows no Django
}
UNTRANSLATED_PACKAGES = ("unfold", "auditlog")
"""They bring no Portuguese along, so all their texts are ours to translate."""
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z]|(?<!\{)\{\w*(?::\w+)?\}")
Key = tuple[str | None, str]


class Texts(Catalog):
    """A catalogue whose header says what Django needs to know, and nothing that changes by itself."""

    num_plurals = 2
    plural_expr = "(n > 1)"
    """As Django's own Brazilian Portuguese has it; CLDR knows a third form, for millions."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:  # type: ignore[override]
        return [
            ("Language", LOCALE),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", "8bit"),
            ("Plural-Forms", self.plural_forms),
        ]

    def keys(self) -> set[Key]:
        return {key_of(message) for message in self if message.id}


def key_of(message: Message) -> Key:
    return message.context, message.id if isinstance(message.id, str) else message.id[0]


def empty(header: str = "") -> Texts:
    return Texts(locale=LOCALE, header_comment=header, fuzzy=False)


# --- What there is in the code --------------------------------------------------------------------------------------


def in_source(source: str, *, is_template: bool) -> Iterator[tuple[str | None, Any]]:
    """The texts of a file: ``(context, id)``, where the id of a plural is a tuple."""
    from django.utils.translation.template import templatize

    # What templatize leaves of a template is calls among crosses; their indentation would be taken for Python's.
    text = "\n".join(line.strip() for line in templatize(source).splitlines()) if is_template else source
    for _line, found, _comments, context in extract("python", io.BytesIO(text.encode()), KEYWORDS):
        yield context, tuple(found) if isinstance(found, (tuple, list)) else found


def in_folder(folder: Path, *, skipped: tuple[str, ...] = ()) -> Iterator[tuple[str | None, Any]]:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        if path.suffix in {".py", ".html"} and "migrations" not in inner and not set(inner) & set(skipped):
            yield from in_source(path.read_text(), is_template=path.suffix == ".html")


def in_our_code() -> Texts:
    from django.conf import settings

    from synapscale.common import naming

    texts = empty()
    for folder in sorted({app.partition(".")[0] for app in settings.OUR_APPS} | {"templates"}):
        for context, text in in_folder(ROOT / folder):
            texts.add(text, context=context)
    for text in naming.texts():
        texts.add(text)
    return texts


def in_packages() -> Texts:
    """What packages say and have no translation of."""
    from django.apps import apps
    from django.conf import settings
    from django.utils.translation.trans_real import DjangoTranslation

    texts = empty()
    ours, settings.LOCALE_PATHS = settings.LOCALE_PATHS, []
    try:
        known = DjangoTranslation("pt-br")._catalog
    finally:
        settings.LOCALE_PATHS = ours
    for name in UNTRANSLATED_PACKAGES:
        if not apps.is_installed(name):
            continue
        folder = Path(apps.get_app_config(name.rpartition(".")[2]).path)
        for context, text in in_folder(folder, skipped=("contrib", "management")):
            first = text if isinstance(text, str) else text[0]
            key: Any = first if context is None else f"{context}\x04{first}"
            if known.get(key) is None and known.get((key, 0)) is None:
                texts.add(text, context=context)
    return texts


def collected() -> Texts:
    """Every text that needs a translation."""
    texts = in_our_code()
    for message in in_packages():
        if message.id:
            texts.add(message.id, context=message.context)
    return texts


# --- What is translated ---------------------------------------------------------------------------------------------


def stored() -> Texts:
    """What ``locale/`` has."""
    with PO.open("rb") as file:
        found = read_po(file, locale=LOCALE, abort_invalid=True)
    texts = empty(found.header_comment)
    for message in found:
        if message.id:
            texts.add(message.id, message.string, flags=message.flags, context=message.context)
    return texts


def merged(old: Texts, wanted: Texts) -> Texts:
    """``wanted``, with the translations of ``old``."""
    new = empty(old.header_comment)
    for message in wanted:
        if not message.id:
            continue
        known = old.get(key_of(message)[1], message.context)
        is_same_kind = known is not None and known.pluralizable == message.pluralizable
        new.add(message.id, known.string if is_same_kind and known else None, context=message.context)
    return new


def as_po(texts: Texts) -> bytes:
    file = io.BytesIO()
    write_po(file, texts, no_location=True, sort_output=True, ignore_obsolete=True, width=120)
    return file.getvalue()


def as_mo(texts: Texts) -> bytes:
    file = io.BytesIO()
    write_mo(file, texts)
    return file.getvalue()


def faults(texts: Texts) -> list[str]:
    """What is wrong with translations, one line for each text."""
    found = []
    for message in texts:
        if not message.id:
            continue
        is_plural = message.pluralizable
        ids = list(message.id) if is_plural else [message.id]
        strings = list(message.string) if is_plural else [message.string]
        if message.fuzzy:
            found.append(f"{ids[0]!r} is marked as fuzzy")
        elif not all(strings) or (is_plural and len(strings) != texts.num_plurals):
            found.append(f"{ids[0]!r} is not translated")
        elif any(sorted(PLACEHOLDER.findall(text)) != sorted(PLACEHOLDER.findall(ids[-1])) for text in strings):
            found.append(f"{ids[0]!r} has other placeholders than its translation")
        elif any(_edges(text) != _edges(ids[-1]) for text in strings):
            found.append(f"{ids[0]!r} begins or ends in another way than its translation")
    return found


def _edges(text: str) -> tuple[str, str, str]:
    """White space around a text, and the full stop, colon or question mark it ends with: they stand beside others."""
    bare = text.strip()
    before, _, after = text.partition(bare)
    return before, bare[-1] if bare[-1] in ".:?…" else "", after


def main() -> int:
    old = stored() if PO.exists() else empty()
    new = merged(old, collected())
    PO.parent.mkdir(parents=True, exist_ok=True)
    PO.write_bytes(as_po(new))
    MO.write_bytes(as_mo(new))
    wrong = faults(new)
    print(f"{len(new.keys())} texts, {len(new.keys() - old.keys())} new, {len(old.keys() - new.keys())} gone.")
    print("\n".join(wrong) or "All are translated.")
    return 1 if wrong else 0


if __name__ == "__main__":
    import django

    import tests.environment  # noqa: F401  settings of the tests

    django.setup()
    sys.exit(main())
