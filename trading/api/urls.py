"""Addresses under /api/."""

from django.urls import path

from trading.api import views

urlpatterns = [
    path("books/", views.BookList.as_view(), name="book-list"),
    path("books/<str:name>/", views.BookDetail.as_view(), name="book-detail"),
    path("books/<str:name>/halt", views.Halt.as_view(), name="book-halt"),
    path("books/<str:name>/reduce", views.Reduce.as_view(), name="book-reduce"),
    path("books/<str:name>/resume", views.Resume.as_view(), name="book-resume"),
    path("books/<str:name>/start", views.Start.as_view(), name="book-start"),
    path("books/<str:name>/stop", views.Stop.as_view(), name="book-stop"),
    path("cycles/", views.CycleList.as_view(), name="cycle-list"),
    path("cycles/<int:pk>/", views.CycleDetail.as_view(), name="cycle-detail"),
    path("cycles/<int:pk>/end", views.EndCycle.as_view(), name="cycle-end"),
]
