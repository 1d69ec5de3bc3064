"""Who: users, workspaces, who belongs to which, and the tokens and variables they hold. CONTROL tables, but for rates
and sign-ins."""

from workspaces.models.people import User, UserManager
from workspaces.models.rates import RateBucket
from workspaces.models.sign_ins import SignInAttempt
from workspaces.models.tokens import AccessToken, Scope, SpendPeriod, all_scopes
from workspaces.models.variables import UserVariable
from workspaces.models.workspaces import HAS_ONE_MEMBER, KEEPS_AN_OWNER, Membership, Workspace

__all__ = [
    "HAS_ONE_MEMBER",
    "KEEPS_AN_OWNER",
    "AccessToken",
    "Membership",
    "RateBucket",
    "Scope",
    "SignInAttempt",
    "SpendPeriod",
    "User",
    "UserManager",
    "UserVariable",
    "Workspace",
    "all_scopes",
]
