"""WSGI: enough for the back office. The API streams and waits on providers, so serve ``synapscale.asgi`` to clients."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "synapscale.settings")
application = get_wsgi_application()
