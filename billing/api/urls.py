from django.urls import re_path

from billing.api.views import BillingEventViewSet, WalletView
from synapscale.common.views import OptionalSlashRouter

router = OptionalSlashRouter()
router.register("billing-events", BillingEventViewSet, basename="billing-event")
urlpatterns = [*router.urls, re_path(r"^wallet/?$", WalletView.as_view(), name="wallet")]
