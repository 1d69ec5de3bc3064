"""The environment of the tests, set before Django reads its settings (loaded with ``-p`` from pyproject.toml)."""

import os
import ssl
import tempfile
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "synapscale.settings"
os.environ.setdefault("SYNAPSCALE_VAR_DIR", tempfile.mkdtemp(prefix="synapscale-tests-"))
if _worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Each worker its own files: one must not settle what another has spooled.
    os.environ["SYNAPSCALE_VAR_DIR"] = os.path.join(os.environ["SYNAPSCALE_VAR_DIR"], _worker)
    os.makedirs(os.environ["SYNAPSCALE_VAR_DIR"], exist_ok=True)
os.environ["SECRET_KEY"] = "only for tests, of no value whatever, and long enough for the checks"
os.environ["MASTER_KEYS"] = "test:only-for-tests-of-no-value-whatever-and-long-enough"
os.environ["HTTPS"] = "0"
os.environ["DEBUG"] = "0"
# Tests sweep, let rules look, fire alerts and send mails when they mean to.
for _name in ("SWEEP", "AUTOTAG", "FEEDBACK_ALERT", "ROLLUP", "REPORT", "ALERT", "ALERT_DELIVERY"):
    os.environ[f"{_name}_SECONDS"] = "0"
for _name in ("OPENAI", "ANTHROPIC", "GOOGLE", "GROK", "DEEPSEEK", "LLAMA"):
    os.environ.pop(f"{_name}_API_KEY", None)
    os.environ.pop(f"{_name}_BASE_URL", None)

# A client reads all authorities this machine trusts, which takes it longer than most calls here. The ones of the tests
# speak plain HTTP, to what runs on this machine: one is enough. Those of the product read no such variable.
if _trusted := ssl.create_default_context().get_ca_certs(binary_form=True):
    _authority = Path(os.environ["SYNAPSCALE_VAR_DIR"], "authority.pem")
    _authority.write_text(ssl.DER_cert_to_PEM_cert(_trusted[0]))
    os.environ["SSL_CERT_FILE"] = str(_authority)
