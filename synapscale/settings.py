"""The one settings file. Everything that differs between machines is an environment variable (README lists them).

A clone runs with none set: SQLite under ``var/``, keys made on the first run and kept there. With ``DATABASE_URL`` set,
nothing is made up: what is missing is an error at boot.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from dotenv import load_dotenv

from office import theme
from synapscale.env import env, env_bool, env_decimal, env_int, env_list

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("SYNAPSCALE_VAR_DIR", BASE_DIR / "var"))
load_dotenv(BASE_DIR / ".env")

DATABASE_URL = env("DATABASE_URL")


def laptop_secret(name: str) -> str:
    """The secret ``name`` from the environment; on a laptop, made once and kept in ``var/``, readable by its owner only."""
    if value := env(name):
        return value
    if DATABASE_URL:
        raise ImproperlyConfigured(f"{name} must be set in the environment.")
    path = VAR_DIR / f"{name.lower()}.txt"
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        # Two processes may start at once: whoever links first wins, the other reads its file.
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


# --- Security -------------------------------------------------------------------------------------------------------
DEBUG = env_bool("DEBUG")
SECRET_KEY = laptop_secret("SECRET_KEY")
# Encrypts users' provider keys: "id:secret" pairs, the first one encrypts, all decrypt. Never the same as SECRET_KEY.
MASTER_KEYS = env_list("MASTER_KEYS") or [f"local:{laptop_secret('MASTER_KEY')}"]
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
HTTPS = env_bool("HTTPS", bool(DATABASE_URL))
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]  # probes come by plain HTTP, and take a redirect for success
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
# What a page may load and run, as its browser enforces it: our own files, and what bears this one response's nonce.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
if env_bool("BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AUTH_USER_MODEL = "workspaces.User"

# --- Applications ---------------------------------------------------------------------------------------------------
OUR_APPS = [
    "synapscale.common",
    "workspaces",
    "llm",
    "billing",
    "tagging",
    "conversations",
    "analytics",
    "office",
]
INSTALLED_APPS = [
    "office.site.LookConfig",  # unfold, the look of the back office; before the admin, whose site and templates it replaces
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "auditlog",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    *OUR_APPS,
]
# API requests pass only the first four and the last: see common.middleware.
MIDDLEWARE = [
    "synapscale.common.middleware.RequestIDMiddleware",
    "synapscale.common.observing.ObservingMiddleware",
    "synapscale.common.middleware.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "synapscale.common.middleware.CSPMiddleware",
    "synapscale.common.middleware.SessionMiddleware",
    "synapscale.common.middleware.LocaleMiddleware",
    "synapscale.common.middleware.CsrfViewMiddleware",
    "synapscale.common.middleware.AuthenticationMiddleware",
    "synapscale.common.middleware.AuditMiddleware",
    "synapscale.common.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "synapscale.common.middleware.VisibleTextMiddleware",
]
# Django looks for its CSRF middleware by name; ours is a subclass that lets API requests, which carry tokens, pass by.
SILENCED_SYSTEM_CHECKS = ["security.W003"]
ROOT_URLCONF = "synapscale.urls"
ASGI_APPLICATION = "synapscale.asgi.application"
WSGI_APPLICATION = "synapscale.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Database -------------------------------------------------------------------------------------------------------
DATABASE_SCHEMA = env("DATABASE_SCHEMA")
DATABASE_POOL_SIZE = env_int("DATABASE_POOL_SIZE", 10)


def database() -> dict[str, Any]:
    if not DATABASE_URL:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": Path(env("SQLITE_PATH") or VAR_DIR / "synapscale.sqlite3"),
            "OPTIONS": {
                # IMMEDIATE: a transaction that reads and then writes can't be refused half-way. FULL: a commit is on disk.
                "transaction_mode": "IMMEDIATE",
                "timeout": env_int("SQLITE_BUSY_SECONDS", 20),
                "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;",
            },
            # A file, not memory: the threads of the message road have connections of their own.
            "TEST": {"NAME": VAR_DIR / "test.sqlite3"},
        }
    config: dict[str, Any] = dict(dj_database_url.parse(DATABASE_URL))
    if "postgresql" not in config["ENGINE"]:
        raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL database; leave it unset for SQLite.")
    config["ENGINE"] = "synapscale.common.postgresql"
    search_path = f" -c search_path={DATABASE_SCHEMA},public" if DATABASE_SCHEMA else ""
    config["OPTIONS"] = {
        # A host that does not answer is noticed in seconds, not in the quarter of an hour that TCP allows.
        "connect_timeout": 5,
        "tcp_user_timeout": 30_000,
        **config.get("OPTIONS", {}),
        "pool": {
            "min_size": min(2, DATABASE_POOL_SIZE),
            "max_size": DATABASE_POOL_SIZE,
            "timeout": 10,
            # The pauses between attempts to connect double: give up early, so that the next request makes a fresh one.
            "reconnect_timeout": 5,
        },
        # A process that stops inside a transaction must not keep the others waiting for its row locks.
        # The second line is for figures: disks that read anywhere as fast as in a row, groups that are not put on disk,
        # and no compiling of statements, which takes longer than any of ours runs.
        "options": "-c lock_timeout=10s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s "
        "-c random_page_cost=1.1 -c work_mem=32MB -c jit=off" + search_path,
    }
    return config


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Threads that do the database work of the message road; each holds at most one connection, and only while it works.
DATABASE_THREADS = env_int("DATABASE_THREADS", min(DATABASE_POOL_SIZE, 8))

# --- API ------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["workspaces.authentication.AccessTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["workspaces.permissions.InScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["synapscale.common.parsing.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "synapscale.common.negotiation.JSONForAll",
    # OPTIONS would describe every field to anybody; the schema does.
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_PAGINATION_CLASS": "synapscale.common.pagination.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "tagging.api.filters.TagFilterBackend",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "synapscale.common.api_errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "SynapScale API",
    "DESCRIPTION": "Conversations with models of many providers, metered and billed to the last digit.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "synapscale.common.schema.describe_all",
    ],
    "ENUM_NAME_OVERRIDES": {
        "MemberRoleEnum": "workspaces.models.Membership.Role",
        "MessageRoleEnum": "conversations.models.Message.Role",
        "AskRoleEnum": ["user", "tool"],
        "WorkspaceStatusEnum": "workspaces.models.Workspace.Status",
        "WalletStatusEnum": "billing.models.Wallet.Status",
        "BillingEventStatusEnum": "billing.models.BillingEvent.Status",
        "ConversationStatusEnum": ["active", "archived"],
        "MessageStatusEnum": "conversations.models.Message.Status",
        "UsageStatusEnum": "conversations.models.UsageLog.Status",
        "WorkspaceKindEnum": "workspaces.models.Workspace.Kind",
        "ConversationKindEnum": "conversations.models.Conversation.Kind",
        "FeedbackCategoryEnum": "conversations.models.MessageFeedback.Category",
        "HealthStatusEnum": "analytics.models.HealthState.Status",
        "FiguresOfEnum": ["user", "workspace", "fleet"],
        "ReportKindEnum": "analytics.models.Report.Kind",
        "ReportPeriodEnum": "analytics.models.Report.Period",
        "ReportScheduleEnum": "analytics.models.Report.Schedule",
        "ReportFormatEnum": "analytics.models.Report.Format",
        "ReportRunStateEnum": "analytics.models.ReportRun.State",
        "ScopeEnum": "workspaces.models.Scope",
        "KeyOwnerEnum": ["user", "workspace"],
        "VariableCategoryEnum": "workspaces.models.UserVariable.Category",
        "TagOriginEnum": "tagging.models.TagLink.Origin",
        "TagStateEnum": "tagging.models.TagLink.State",
        "AlertScopeEnum": "analytics.models.AlertRule.Scope",
        "AlertStateEnum": "analytics.models.Alert.State",
        "AlertSeverityEnum": "analytics.models.Severity",
        "AlertSubjectEnum": "analytics.models.Subject",
        "AlertOwnerEnum": ["workspace", "operators"],
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = env_int("MAX_REQUEST_BYTES", 25 * 1024 * 1024)

# --- Model providers ------------------------------------------------------------------------------------------------
# The house's own keys. A provider without one answers calls only to users who bring their own.
PROVIDERS = {
    name: {"api_key": env(f"{name.upper()}_API_KEY"), "base_url": env(f"{name.upper()}_BASE_URL")}
    for name in ("openai", "anthropic", "google", "grok", "deepseek", "llama")
}
# The Llama of the catalogue is priced as this host sells it; LLAMA_BASE_URL may name any other that speaks OpenAI's protocol.
PROVIDERS["llama"]["base_url"] = PROVIDERS["llama"]["base_url"] or "https://api.together.xyz/v1"
LLM_CONNECT_TIMEOUT = env_int("LLM_CONNECT_TIMEOUT", 10)
LLM_FIRST_TOKEN_TIMEOUT = env_int("LLM_FIRST_TOKEN_TIMEOUT", 120)
LLM_IDLE_TIMEOUT = env_int("LLM_IDLE_TIMEOUT", 60)
LLM_TOTAL_TIMEOUT = env_int("LLM_TOTAL_TIMEOUT", 600)
LLM_MAX_ATTEMPTS = env_int("LLM_MAX_ATTEMPTS", 3)
LLM_MAX_RETRY_WAIT = env_int("LLM_MAX_RETRY_WAIT", 20)
# After so many failures in a row a provider is skipped for a while where another model can answer, then probed again.
CIRCUIT_FAILURES = env_int("CIRCUIT_FAILURES", 5)
CIRCUIT_PAUSE_SECONDS = env_int("CIRCUIT_PAUSE_SECONDS", 30)
# Differences between the catalogue and the vendors' prices are proposed every so many hours; 0 leaves it to `manage.py sync_prices`.
PRICE_SYNC_SECONDS = env_int("PRICE_SYNC_HOURS", 0) * 3600
# `sync_prices --apply` stores a price where no rate moves by more; all others wait for somebody's approval.
PRICE_SYNC_MAX_CHANGE_PERCENT = env_int("PRICE_SYNC_MAX_CHANGE_PERCENT", 20)
DEFAULT_MAX_TOKENS = env_int("DEFAULT_MAX_TOKENS", 4096)
# When the balance affords fewer answer tokens than this, the call is refused instead of shortened.
MIN_OUTPUT_TOKENS = env_int("MIN_OUTPUT_TOKENS", 64)

# --- The message road -----------------------------------------------------------------------------------------------
HOLD_LEASE_SECONDS = env_int("HOLD_LEASE_SECONDS", 60)
CHECKPOINT_SECONDS = env_int("CHECKPOINT_SECONDS", 2)
# Answers that are about to be settled lie here for the few milliseconds it takes; a crash in between loses nothing.
SPOOL_DIR = Path(env("SPOOL_DIR") or VAR_DIR / "spool")
SHUTDOWN_GRACE_SECONDS = env_int("SHUTDOWN_GRACE_SECONDS", 30)
# The server sweeps by itself every so many seconds; 0 leaves it to `manage.py sweep_holds` in cron.
SWEEP_SECONDS = env_int("SWEEP_SECONDS", 5)

# --- Tags -----------------------------------------------------------------------------------------------------------
# The server lets rules look at new answers every so many seconds; 0 leaves it to `manage.py autotag` in cron.
AUTOTAG_SECONDS = env_int("AUTOTAG_SECONDS", 5)
# “provider/name” of the model that is asked for topics, where a workspace has switched that rule on; empty: none.
AUTOTAG_LLM = env("AUTOTAG_LLM")

# --- Figures --------------------------------------------------------------------------------------------------------
# The server adds new calls to the sums every so many seconds; 0 leaves it to `manage.py tick` in cron. Figures are exact either way.
ROLLUP_SECONDS = env_int("ROLLUP_SECONDS", 10)
# The server makes the runs of reports that are due every so many seconds; 0 leaves it to `manage.py run_reports` in cron.
REPORT_SECONDS = env_int("REPORT_SECONDS", 60)

# --- Mail -----------------------------------------------------------------------------------------------------------
# Without a host, mails are written to the standard output.
EMAIL_HOST = env("EMAIL_HOST")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
EMAIL_USE_TLS = env_bool("EMAIL_USE_TLS")
EMAIL_PORT = env_int("EMAIL_PORT", 587 if EMAIL_USE_TLS else 25)
EMAIL_HOST_USER = env("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env("EMAIL_HOST_PASSWORD")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", "synapscale@localhost")
# What they are written in: a language of the back office.
MAIL_LANGUAGE = env("MAIL_LANGUAGE", "en")
if MAIL_LANGUAGE not in dict(theme.LANGUAGES):
    raise ImproperlyConfigured(f"MAIL_LANGUAGE is one of {', '.join(dict(theme.LANGUAGES))}.")
# Where clients reach the API, for links in mails.
PUBLIC_URL = env("PUBLIC_URL", "http://localhost:8000").rstrip("/")
# The server tells workspaces of negative feedback every so many seconds; 0 leaves it to `manage.py send_feedback_alerts`.
FEEDBACK_ALERT_SECONDS = env_int("FEEDBACK_ALERT_SECONDS", 60)

# --- Alerts ---------------------------------------------------------------------------------------------------------
# The server looks at the alert rules every so many seconds, and sends what is due; 0 leaves it to `manage.py check_alerts`.
ALERT_SECONDS = env_int("ALERT_SECONDS", 60)
ALERT_DELIVERY_SECONDS = env_int("ALERT_DELIVERY_SECONDS", 10)
# Operators who are told by mail of what their own rules find, separated by commas.
ALERT_EMAILS = env_list("ALERT_EMAILS")

# --- Back office ----------------------------------------------------------------------------------------------------
# Shown beside every page's title, so that nobody takes production for something else.
ENVIRONMENT_NAME = env("ENVIRONMENT_NAME")
# Operators who move more money than this, in USD, are asked for their password again.
OFFICE_REAUTH_USD = env_decimal("OFFICE_REAUTH_USD", "100")
UNFOLD = theme.UNFOLD

# --- Observing ------------------------------------------------------------------------------------------------------
# The bearer token that /metrics asks for; without one it answers only to this machine.
METRICS_TOKEN = env("METRICS_TOKEN")

# --- The rest -------------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
# Of the back office; the API speaks English.
LANGUAGES: list[tuple[str, str]] = theme.LANGUAGES
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"  # `manage.py setup` collects into it, the ASGI application serves it
LOG_FORMAT = env("LOG_FORMAT", "line")
if LOG_FORMAT not in {"line", "json"}:
    raise ImproperlyConfigured("LOG_FORMAT is “line” or “json”.")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "synapscale.common.logs.LineFormatter"},
        "json": {"()": "synapscale.common.logs.JSONFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", "INFO")},
    "loggers": {
        # These print request bodies and headers at DEBUG: prompts and keys never reach a log.
        name: {"level": "WARNING"}
        for name in ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "anthropic", "google_genai", "urllib3")
    }
    # A collector that is away is one line for each batch that is lost, and not one for each try, with its address.
    | {"opentelemetry.exporter": {"level": "ERROR"}},
}
if LOG_FORMAT == "json":
    # The server's own lines as objects too; and no access log, whose addresses may hold what somebody looks for.
    LOGGING["loggers"] |= {
        "uvicorn": {"handlers": [], "propagate": True},
        "uvicorn.error": {"handlers": [], "propagate": True},
        "uvicorn.access": {"handlers": [], "propagate": True, "level": "WARNING"},
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
    }
