"""Every address Helios answers under; what the upper floors serve is included by name, never imported."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerView

from helios.api.system import views
from helios.flags.unleash import views as unleash_views
from helios.web.admin_app import password_change, search

admin.autodiscover()
_pages, _app, _namespace = admin.site.urls
_pages = [each for each in _pages if getattr(each, "name", "") != "autocomplete"]  # it searches by any number of words

urlpatterns = [
    path("", views.index, name="index"),
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}web/sun.svg"), name="favicon"),
    path("health", views.alive, name="health"),
    path("health/ready", views.ready, name="ready"),
    path("api/system/info", views.SystemInfoView.as_view(), name="system-info"),
    path("api/modularity/", include("helios.api.urls")),
    path("api/client/features", unleash_views.ClientFeatures.as_view(), name="client-features"),
    path("api/client/register", unleash_views.ClientRegister.as_view(), name="client-register"),
    path("api/client/metrics", unleash_views.ClientMetrics.as_view(), name="client-metrics"),
    path("api/schema/", views.schema, name="schema"),
    path("api/", include("trading.api.urls")),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path(
        "redoc",
        SpectacularRedocView.as_view(url_name="schema", template_name="web/redoc.html"),
        name="redoc",
    ),
    path(
        "admin/",
        (
            [path("search/", search), path("password_change/", password_change, name="password_change"), *_pages],
            _app,
            _namespace,
        ),
    ),
]

handler400 = "helios.web.problems.bad_request"
handler404 = "helios.web.problems.not_found"
handler500 = "helios.web.problems.server_error"
