"""Django's settings: one file, every value that differs between machines comes from `helios.env`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from helios import VERSION, admin_menu
from helios.entries import parts
from helios.env import BASE_DIR, get_env
from helios.stack import endpoints

env = get_env()
_servers = endpoints.configured(env)

REDIS_URL = _servers.redis_url
VAR_DIR = env.var_dir
MODULE_PACKAGES = tuple(parts(env.module_packages))
MODULES_DIR = env.modules_dir or VAR_DIR / "modules"
# What a version must pass before it may fill a slot: suites by name, the suites that gate a slot (`generic` gates any
# other), and the table of calls that the stages make.
MODULE_SUITES = {
    "generic": "helios.modules.suites.generic",
    "ml": "tiers.gates.predict",
    "trading": "tiers.gates.trading",
    "data": "tiers.gates.data",
    "risk": "tiers.gates.risk",
}
MODULE_GATES = {
    "ingest": ("generic", "data"),
    "features": ("generic", "data"),
    "predict": ("generic", "ml"),
    "risk": ("generic", "risk"),
    "llm": ("generic", "risk"),
    "portfolio": ("generic", "trading"),
    "execute": ("generic", "trading"),
}
MODULE_CALLS = "tiers.gates.calls.CALLS"

SECRET_KEY = env.resolved_secret_key()
ENVIRONMENT = env.environment
DEBUG = env.debug
ALLOWED_HOSTS = parts(env.allowed_hosts)
# Credentials stay off, so a foreign page cannot ride on an admin session; it needs a token.
CORS_ALLOWED_ORIGINS = [origin.rstrip("/") for origin in parts(env.cors_allowed_origins)]
CORS_ALLOW_HEADERS = (
    "authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "x-request-id",
)  # fmt: skip
CORS_EXPOSE_HEADERS = (
    "ETag", "Idempotency-Replayed", "Location", "Retry-After", "Server-Timing", "X-Request-ID",
)  # fmt: skip
CORS_PREFLIGHT_MAX_AGE = 600
ROOT_URLCONF = "helios.urls"

INSTALLED_APPS = [
    "unfold",
    "helios.web.admin_app.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
    "django_celery_beat",
    "django_celery_results",
    "axes",
    "helios",
    "helios.web",
    "helios.events",
    "helios.control",
    "helios.flags",
    "helios.breakers",
    "helios.modules",
    "helios.rollouts",
    "trading",
    "tiers",
    "sentinel",
]

# What a command loads in vain that shows no page and sends no task.
OF_PAGES_AND_TASKS = {"unfold", "django_celery_beat", "django_celery_results"}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "helios.web.static.StaticFiles",
    "helios.web.middleware.RequestLog",
    "corsheaders.middleware.CorsMiddleware",
    "helios.web.middleware.ContentPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "helios.web.throttling.AdminPages",
    "helios.web.login.known_browsers",
    "axes.middleware.AxesMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "sentinel" / "templates"],  # its start page goes before the admin theme's own
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

DATABASES = {"default": endpoints.django_database(_servers.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Nothing: Django's caches unpickle what they find, and whoever reaches Valkey could put code there for the web to run.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Five failures of one user from one address, or in one known browser: both together are refused until the last one is
# 15 minutes old.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_USERNAME_CALLABLE = "helios.web.login.counted_as"
AXES_CLIENT_IP_CALLABLE = "helios.web.proxies.address"
AXES_LOCKOUT_CALLABLE = "helios.web.login.locked_out"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = AXES_VERBOSE = False

SESSION_ENGINE = "helios.web.sessions"
LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"  # Django's own defaults lead to /accounts/, a 404

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "helios.web.formats"
USE_TZ = True

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # from the installation: nothing that is served lies where a worker may write

# Production hardening; a local stack speaks plain HTTP on the loopback interface.
_secure = env.environment != "dev"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _secure
SECURE_HSTS_SECONDS = 31_536_000 if _secure else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _secure
TRUSTED_PROXIES = env.trusted_proxies
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_REDIRECT_EXEMPT = [r"^health"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "helios.web.tokens.HashedTokens",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["helios.web.access.RolePermission"],
    "DEFAULT_THROTTLE_CLASSES": ["helios.web.throttling.Limit"],
    "DEFAULT_SCHEMA_CLASS": "helios.web.openapi.HeliosSchema",
    "DEFAULT_PARSER_CLASSES": ["helios.web.parsing.StrictJson"],
    "DEFAULT_RENDERER_CLASSES": ["helios.web.parsing.AnyNumber"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "helios.web.parsing.OnlyJson",
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_PAGINATION_CLASS": "helios.web.pagination.Pages",
    "EXCEPTION_HANDLER": "helios.web.problems.handle",
}
# Pages whose actions may make trading safer.
SAFER_PAGES = (
    *("/admin/trading/book/", "/admin/trading/pipelinecycle/"),
    *("/admin/flags/featureflag/", "/admin/breakers/circuitbreaker/"),
)
# How often one user may read, write, do what is slow and what makes safer; and one address without a name ask at all.
API_RATES = {
    "read": env.api_rate_read,
    "write": env.api_rate_write,
    "sensitive": env.api_rate_sensitive,
    "safer": env.api_rate_safer,
    "anon": env.api_rate_anon,
}
# What staff of a role may add and change in the admin, by app, beyond the role before (helios.web.access).
ROLE_CHANGES: dict[str, tuple[str, ...]] = {
    "viewer": (),
    "operator": ("flags", "breakers", "modules", "rollouts", "sentinel"),
    "trader": ("trading",),
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Helios",
    "DESCRIPTION": "Reads and steers a running Helios: flags, breakers, modules, rollouts, books and cycles. "
    "Requests carry a token or an admin session; each operation names the role that it needs.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "helios.web.openapi.add_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "BookState": "trading.enums.TradingState",
        "BreakerState": "helios.breakers.models.ShownState",
        "BreakerMode": "helios.api.breakers.shapes.MODES",
        "FlagStrategy": "helios.api.flags.shapes.ALL_STRATEGIES",
        "ChosenStrategy": "helios.api.flags.shapes.CHOSEN",
        "RolloutState": "helios.api.rollouts.shapes.STATES",
        "RolloutKind": "helios.api.rollouts.shapes.KINDS",
        "GuardKind": "helios.api.rollouts.shapes.STRENGTHS",
        "StepKind": "helios.api.rollouts.shapes.MODES",
        "SwapKind": "helios.modules.models.ModuleSwap.Kind",
        "SwapState": "helios.modules.models.SwapState",
        "JobKind": "helios.modules.models.ModuleJob.Kind",
        "JobState": "helios.modules.models.JobState",
        "ModuleState": "helios.modules.models.ModuleState",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Celery: state lives in PostgreSQL; Valkey holds queues only, all of them rebuildable. ---
CELERY_IMPORTS = ("celery_app",)  # its handlers ready a pool process; a spawned one has imported nothing yet
CELERY_BROKER_URL = endpoints.celery_broker(REDIS_URL)
CELERY_RESULT_BACKEND = "django-db"
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = 86_400
VISIBILITY_TIMEOUT_S = 3_600
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_RETRY_ON_WORKER_LOST = True  # bounded by max_retries; a rejected message would come back for ever
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 30
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = False
CELERY_WORKER_MAX_TASKS_PER_CHILD = 20_000
CELERY_WORKER_PROC_ALIVE_TIMEOUT = 120.0  # a child loads modules and models before it is up
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_TIME_LIMIT = endpoints.LONGEST_TASK_S
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_QUEUES: dict[str, dict[str, str]] = {
    name: {} for name in ("ingest", "default", "gpu", "execution", "maintenance")
}
CELERY_TASK_ROUTES = {
    "tiers.ingest": {"queue": "ingest"},
    "tiers.tick": {"queue": "ingest"},
    "tiers.recover": {"queue": "maintenance"},
    "tiers.predict": {"queue": "gpu"},
    "tiers.execute": {"queue": "execution"},
    "trading.*": {"queue": "execution"},
    "sentinel.*": {"queue": "maintenance"},
    "web.*": {"queue": "maintenance"},
    "rollouts.*": {"queue": "maintenance"},
    "modules.*": {"queue": "maintenance"},
    "celery.backend_cleanup": {"queue": "maintenance"},
}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "helios.beat:Scheduler"
_EVERY_S = {
    "tick": ("tiers.tick", 5.0),
    "recover": ("tiers.recover", 15.0),
    "modules": ("modules.watch_files", 5.0),
    "rollouts": ("rollouts.advance", 5.0),
    "heartbeat": ("sentinel.heartbeat", 15.0),
    "audit": ("sentinel.audit", 60.0),
    "idempotency": ("web.forget_idempotency_keys", 3_600.0),
    "sessions": ("web.forget_ended_sessions", 3_600.0),
}
CELERY_BEAT_SCHEDULE = {
    name: {"task": task, "schedule": timedelta(seconds=seconds), "options": {"expires": seconds}}
    for name, (task, seconds) in _EVERY_S.items()
}

# --- What helios asks of the floors above it, by dotted path. ---
BEAT_SILENCE = "sentinel.selectors.beat_silence"  # () -> a sentence; empty while beat is heard
ROLLOUT_MEASURES = "tiers.challenge.measures.measure"  # (rollout_id, step, since) -> {arm: ArmMeasures}
ROLLOUT_REPLAY = "tiers.research.tasks.measure"  # (rollout) -> the same, over stored history
ROLLOUT_STRATEGIES = "tiers.live.book_strategy.check"  # (target, challenger, params) -> the champion's label
ROLLOUT_PROMOTE_STRATEGY = "tiers.live.book_strategy.promote"  # (target, challenger, params, *, actor, reason)

DEFAULT_EXCEPTION_REPORTER = "helios.web.debugging.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "helios.web.debugging.Filter"
LOGGING_CONFIG = None  # helios.logs installs loguru and takes over the standard library's records
UNFOLD = admin_menu.UNFOLD
FORMS_URLFIELD_ASSUME_HTTPS = True
