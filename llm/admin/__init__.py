"""Back office of the models: the catalogue, private hosts, and what hosts offer."""

from llm.admin import catalogue, connections, proposals

__all__ = ["catalogue", "connections", "proposals"]
