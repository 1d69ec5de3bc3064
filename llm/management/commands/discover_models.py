from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm import discovery
from llm.errors import ProviderError
from llm.models import ProviderConnection

REQUIRED = ("context_window", "max_output_tokens", "input", "output")
OPTIONS = {
    "model_id": "import",
    "capabilities": "supports",
    "input_usd_per_mtok": "input",
    "output_usd_per_mtok": "output",
    "cached_input_usd_per_mtok": "cached_input",
    "request_fee_usd": "request_fee",
}
"""What ``import_model`` calls otherwise than the command line does."""


def flag(name: str) -> str:
    return f"--{OPTIONS.get(name, name).replace('_', '-')}"


def amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError from None


class Command(BaseCommand):
    help = (
        "Lists the models of an OpenAI-compatible host, or imports one of them. A model is never imported without its "
        "price; one that is free costs 0."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", help="The slug of a private host, or “llama” for the host at LLAMA_BASE_URL.")
        parser.add_argument("--import", dest="model_id", metavar="ID", help="The model to import.")
        parser.add_argument("--display-name", metavar="NAME", help="default: its id")
        parser.add_argument("--context-window", type=int, metavar="N", help="Tokens of prompt and answer together.")
        parser.add_argument("--max-output-tokens", type=int, metavar="N", help="The longest answer, in tokens.")
        parser.add_argument(
            "--supports",
            action="append",
            choices=list(discovery.CAPABILITIES),
            help="What it can do besides streaming; may be given several times.",
        )
        parser.add_argument("--input", type=amount, metavar="USD", help="Per million tokens.")
        parser.add_argument("--output", type=amount, metavar="USD", help="Per million tokens, reasoning included.")
        parser.add_argument("--cached-input", type=amount, metavar="USD", help="default: as --input")
        parser.add_argument("--request-fee", type=amount, metavar="USD", default=Decimal(0), help="Per call.")

    def handle(self, *args: Any, **options: Any) -> None:
        source = self._source(options["source"])
        try:
            found = discovery.list_models_now(source)
        except ProviderError as error:
            raise CommandError(f"The host did not list its models. {error.message}") from None
        if options["model_id"]:
            self._import(source, found, options)
            return
        width = max((len(model.id) for model in found), default=0)
        for model in found:
            known = f"{model.llm}{'' if model.llm.is_active else ' (retired)'}" if model.llm else "-"
            self.stdout.write(f"{model.id:{width}}  {known}")
        imported = sum(model.is_imported for model in found)
        self.stdout.write(f"discover_models: {len(found)} found, {imported} in the catalogue")

    def _source(self, name: str) -> discovery.Source:
        if name == "llama":
            return "llama"
        connection = ProviderConnection.objects.filter(slug=name).first()
        if connection is None:
            known = ["llama", *ProviderConnection.objects.values_list("slug", flat=True)]
            raise CommandError(f"There is no host {name}. Known are: {', '.join(known)}.")
        return connection

    def _import(self, source: discovery.Source, found: list[discovery.Found], options: dict[str, Any]) -> None:
        model_id = options["model_id"]
        if model_id not in {model.id for model in found}:
            raise CommandError(f"The host does not offer “{model_id}”.")
        if missing := [flag(name) for name in REQUIRED if options[name] is None]:
            raise CommandError(f"An import needs {', '.join(missing)}.")
        try:
            llm = discovery.import_model(
                source=source,
                model_id=model_id,
                display_name=options["display_name"] or model_id,
                context_window=options["context_window"],
                max_output_tokens=options["max_output_tokens"],
                capabilities=["streaming", *(options["supports"] or ())],
                input_usd_per_mtok=options["input"],
                output_usd_per_mtok=options["output"],
                cached_input_usd_per_mtok=options["cached_input"],
                request_fee_usd=options["request_fee"],
            )
        except ValidationError as error:
            faults: dict[str, list[str]] = error.message_dict
            told = [f"{flag(name)}: {' '.join(messages)}" for name, messages in faults.items()]
            raise CommandError(" ".join(told)) from None
        self.stdout.write(f"discover_models: imported {llm}")
