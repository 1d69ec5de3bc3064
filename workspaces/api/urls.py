from synapscale.common.views import OptionalSlashRouter
from workspaces.api.views import MemberViewSet, WorkspaceViewSet

router = OptionalSlashRouter()
router.register("workspaces", WorkspaceViewSet, basename="workspace")
router.register(r"workspaces/(?P<workspace_pk>[0-9a-f-]{36})/members", MemberViewSet, basename="member")
urlpatterns = router.urls
