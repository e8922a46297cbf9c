"""Django's settings, made from the environment: see `.env.example` for what can be set."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from csp.constants import NONE, SELF, UNSAFE_INLINE

from musetalk_site.configuration.environment import (
    BASE_DIR,
    CannotStart,
    Network,
    read,
    read_file,
    unknown_names,
)
from musetalk_site.configuration.secret_key import kept_secret_key
from musetalk_site.layers import layers_in_process, layers_over_redis
from musetalk_site.logs import logging_settings
from musetalk_site.version import VERSION

_file = read_file(BASE_DIR / ".env")
_values = read(file=_file)
UNKNOWN_SETTINGS: list[str] = unknown_names(_file)

HOST: str = _values["HOST"]
PORT: int = _values["PORT"]
PROCESSES: int | None = _values["PROCESSES"]
DEBUG: bool = _values["DEBUG"]
ALLOWED_HOSTS: list[str] = _values["ALLOWED_HOSTS"]
CORS_ORIGINS: list[str] = _values["CORS_ORIGINS"]
TRUSTED_PROXIES: list[Network] = _values["TRUSTED_PROXIES"] or []
SECRET_KEY: str = _values["SECRET_KEY"] or kept_secret_key(BASE_DIR / "var" / "secret_key")

# Engines and workers.
ENGINE: str = _values["ENGINE"]
DEVICES: list[str] = _values["DEVICE"]
USE_FLOAT16: bool = _values["USE_FLOAT16"]
MODEL_PATH = _values["MODEL_PATH"]
MUSETALK_DECODER: str = _values["MUSETALK_DECODER"]
MUSETALK_LOOK_AHEAD_MS: int = _values["MUSETALK_LOOK_AHEAD_MS"]
MUSETALK_MEMORY_GB: int = _values["MUSETALK_MEMORY_GB"]
EMPHASIS: bool = _values["EMPHASIS"]
END_OF_SPEECH_MS: int = _values["END_OF_SPEECH_MS"]

# Avatars.
AVATARS_DIR = _values["AVATARS_DIR"]
SHIPPED_AVATARS_DIR = BASE_DIR / "avatars_app"
DEFAULT_AVATAR: str = _values["DEFAULT_AVATAR"]
LIST_AVATARS: bool = _values["LIST_AVATARS"]
OPEN_UPLOADS: bool = _values["OPEN_UPLOADS"]
MAX_UPLOAD_MB: int = _values["MAX_UPLOAD_MB"]
PREPARATION_S: int = _values["PREPARATION_S"]
PREPARATION_MEMORY_MB: int = _values["PREPARATION_MEMORY_MB"]

# Gateway.
SPEAKING_PLACES: int | None = _values["SPEAKING_PLACES"]
SPEECH_SHARE: float = _values["SPEECH_SHARE"]
SESSION_IDLE_S: int = _values["SESSION_IDLE_S"]
MAX_SESSION_S: int = _values["MAX_SESSION_S"]
DRAIN_S: int = _values["DRAIN_S"]
RESUME_S: int = _values["RESUME_S"]
MAX_WATCHERS: int = _values["MAX_WATCHERS"]
MAX_QUEUED_SPEECH_S: int = _values["MAX_QUEUED_SPEECH_S"]
AUTH: bool = _values["AUTH"]
AUTH_SECRET: str = _values["AUTH_SECRET"]
AUTH_PUBLIC_KEY: Path | str = _values["AUTH_PUBLIC_KEY"]
AUTH_JWKS_URL: str = _values["AUTH_JWKS_URL"]
AUTH_AUDIENCE: str = _values["AUTH_AUDIENCE"]
AUTH_ISSUER: str = _values["AUTH_ISSUER"]
AUTH_LEEWAY_S: int = _values["AUTH_LEEWAY_S"]
STREAM_TOKEN_S: int = _values["STREAM_TOKEN_S"]
MAX_SESSIONS_PER_SUBJECT: int = _values["MAX_SESSIONS_PER_SUBJECT"]
MAX_CONNECTIONS_PER_SUBJECT: int = _values["MAX_CONNECTIONS_PER_SUBJECT"]
MAX_UPLOADS_PER_SUBJECT: int = _values["MAX_UPLOADS_PER_SUBJECT"]
MAX_QUEUED_SPEECH_PER_SUBJECT_S: int = _values["MAX_QUEUED_SPEECH_PER_SUBJECT_S"]
MAX_PREPARATIONS_PER_SUBJECT: int = _values["MAX_PREPARATIONS_PER_SUBJECT"]
MAX_SESSIONS_PER_ADDRESS: int = _values["MAX_SESSIONS_PER_ADDRESS"]
MAX_CONNECTIONS_PER_ADDRESS: int = _values["MAX_CONNECTIONS_PER_ADDRESS"]
MAX_UPLOADS_PER_ADDRESS: int = _values["MAX_UPLOADS_PER_ADDRESS"]
WEBHOOK_URL: str = _values["WEBHOOK_URL"]
WEBHOOK_SECRET: str = _values["WEBHOOK_SECRET"]
WEBHOOK_PRIVATE_TARGETS: bool = _values["WEBHOOK_PRIVATE_TARGETS"]
METRICS: bool = _values["METRICS"]
METRICS_TOKEN: str = _values["METRICS_TOKEN"]
TRACES_URL: str = _values["TRACES_URL"]
HISTORY_DAYS: int = _values["HISTORY_DAYS"]

CHANNEL_REDIS_URL: str = _values["CHANNEL_REDIS_URL"]
CHANNEL_LAYERS = layers_over_redis(CHANNEL_REDIS_URL) if CHANNEL_REDIS_URL else layers_in_process()

INSTALLED_APPS = [
    "musetalk_site",  # before channels: its `runworker` replaces the stock one
    "streaming",
    "avatars_app",
    "inference",
    "channels",
    "corsheaders",
    "musetalk_site.apps.LoginAttemptsConfig",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "musetalk_site.middleware.request_ids.request_ids_middleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "musetalk_site.middleware.static_files.StaticFilesMiddleware",
    "csp.middleware.CSPMiddleware",
    "musetalk_site.middleware.log_ins.few_log_ins_middleware",
    "musetalk_site.middleware.secure_cookies.secure_cookies_middleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "musetalk_site.middleware.database_outages.DatabaseOutagesMiddleware",
]

# Log-in attempts: after ten failures in a row an address cannot try this name for a while.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["ip_address", "username"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_DISABLE_ACCESS_LOG = True
AXES_LOCKOUT_TEMPLATE = "locked_out.html"
AXES_ENABLE_ADMIN = False  # `musetalk_site.admin` has one that fits

# Pages of these origins may call the API, without cookies, so without a login.
CORS_ALLOW_ALL_ORIGINS = "*" in CORS_ORIGINS
CORS_ALLOWED_ORIGINS = [origin for origin in CORS_ORIGINS if origin != "*"]
CORS_URLS_REGEX = r"^/(?!admin(/|$)|static/)"
CORS_EXPOSE_HEADERS = ["Location", "Content-Range", "ETag", "Retry-After"]

# Scripts, styles and all else come from this server's own files; nothing is written into a page.
# `style` attributes may be: the API's pages have some, and they run nothing.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "style-src-attr": [UNSAFE_INLINE],
        "img-src": [SELF, "data:", "blob:"],
        "media-src": [SELF, "blob:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# What these checks want is done elsewhere: `cookies` marks those that go over HTTPS as secure, and
# to lead from HTTP to HTTPS, for how long, is the proxy's business.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008", "security.W012", "security.W016"]

ASGI_APPLICATION = "musetalk_site.asgi.application"
ROOT_URLCONF = "musetalk_site.urls"
# Addresses are part of the contract and end without a slash.
APPEND_SLASH = False

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

DATABASES: dict[str, dict[str, Any]] = {"default": _values["DATABASE_URL"]}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    if isinstance(DATABASES["default"]["NAME"], Path):
        try:
            DATABASES["default"]["NAME"].parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotStart(
                f"the folder of DATABASE_URL, {DATABASES['default']['NAME'].parent}, "
                f"cannot be made ({error.strerror}): name a file in a folder that can be written."
            ) from None
    # Readers never wait for the writer, and a writer takes its lock at once or waits its turn:
    # without IMMEDIATE two processes that read before they write can fail at once.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

PASSWORD_HASHERS = ["musetalk_site.password_hashing.OneAtATimeHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

STATIC_URL = "/static/"
ICON_URL = f"{STATIC_URL}studio/icon.svg"
# Files are served from where the packages keep them: there is no collectstatic to forget.
WHITENOISE_USE_FINDERS = True
# The library for browsers is a package of its own; pages import it from /static/avatar/.
STATICFILES_DIRS = [("avatar", BASE_DIR / "clients" / "javascript" / "src")]
WHITENOISE_ROOT = BASE_DIR / "musetalk_site" / "root"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "musetalk_site.formats"

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "avatars_app.access.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["avatars_app.permissions.MayRead"],
    "DEFAULT_PARSER_CLASSES": [
        "musetalk_site.json_parser.RefusingJSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "EXCEPTION_HANDLER": "musetalk_site.problems.respond",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Talking avatar",
    "DESCRIPTION": "Speech in, a live talking avatar out: the pages beside the WebSocket stream.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "DEFAULT_GENERATOR_CLASS": "musetalk_site.openapi.SharedSchemaGenerator",
    "ENUM_NAME_OVERRIDES": {"AvatarStatus": "avatars_app.models.Avatar.Status"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "musetalk_site.problems.describe",
    ],
    # Swagger UI and ReDoc come with the server: no file is fetched from elsewhere.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": ICON_URL,
    "REDOC_DIST": "SIDECAR",
}

LOG_LEVEL: str = _values["LOG_LEVEL"]
LOG_FORMAT: Literal["text", "json"] = _values["LOG_FORMAT"]
LOGGING = logging_settings(LOG_LEVEL, LOG_FORMAT)
