"""Addresses under /api/modularity/."""

from django.urls import path

from helios.platform.modularity import views

urlpatterns = [
    path("status", views.StatusView.as_view(), name="modularity-status"),
    path("modules", views.ModuleList.as_view(), name="module-list"),
    path("modules/<str:name>/status", views.ModuleStatus.as_view(), name="module-status"),
    path("feature-flags", views.FlagList.as_view(), name="flag-list"),
    path("feature-flags/<str:name>", views.FlagDetail.as_view(), name="flag-detail"),
    path("circuit-breakers", views.BreakerList.as_view(), name="breaker-list"),
    path("circuit-breakers/<str:name>", views.BreakerDetail.as_view(), name="breaker-detail"),
]
