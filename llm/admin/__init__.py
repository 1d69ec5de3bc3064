"""Back office of the models: the catalogue, private hosts, and what hosts offer."""

from llm.admin import catalogue, connections

__all__ = ["catalogue", "connections"]
