from synapscale.common.views import OptionalSlashRouter
from tagging.api.rule_views import LinkViewSet, RuleViewSet
from tagging.api.views import TagViewSet

router = OptionalSlashRouter()
router.register("tag-links", LinkViewSet, basename="tag-link")
router.register("tag-rules", RuleViewSet, basename="tag-rule")
router.register("tags", TagViewSet, basename="tag")
urlpatterns = router.urls
