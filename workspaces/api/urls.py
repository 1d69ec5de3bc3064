from django.urls import re_path

from synapscale.common.views import OptionalSlashRouter
from workspaces.api.token_views import AccessTokenViewSet, MeView
from workspaces.api.variable_views import UserVariableViewSet, WorkspaceVariableViewSet
from workspaces.api.views import MemberViewSet, WorkspaceViewSet

router = OptionalSlashRouter()
router.register("workspaces", WorkspaceViewSet, basename="workspace")
router.register(r"workspaces/(?P<workspace_pk>[0-9a-f-]{36})/members", MemberViewSet, basename="member")
router.register(
    r"workspaces/(?P<workspace_pk>[0-9a-f-]{36})/variables", WorkspaceVariableViewSet, basename="workspace-variable"
)
router.register("user-variables", UserVariableViewSet, basename="user-variable")
router.register("access-tokens", AccessTokenViewSet, basename="access-token")
urlpatterns = [*router.urls, re_path(r"^me/?$", MeView.as_view(), name="me")]
