"""Back office: people, workspaces, members, access tokens and encrypted variables. No secret is ever shown."""

from workspaces.admin import people, rates, spaces, tokens, variables

__all__ = ["people", "rates", "spaces", "tokens", "variables"]
