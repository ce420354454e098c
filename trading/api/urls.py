"""Addresses under /api/."""

from django.urls import path

from trading.api import views

urlpatterns = [
    path("books/", views.BookList.as_view(), name="book-list"),
    path("books/<str:name>/", views.BookDetail.as_view(), name="book-detail"),
    path("cycles/", views.CycleList.as_view(), name="cycle-list"),
    path("cycles/<int:pk>/", views.CycleDetail.as_view(), name="cycle-detail"),
]
