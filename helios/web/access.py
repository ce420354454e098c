"""Roles of people: groups in the database, and the permission class that asks the table of `roles`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, Permission, User
from django.db.models import Q, prefetch_related_objects
from rest_framework import exceptions
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from helios.web import roles
from helios.web.roles import Role

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it reads this class from the settings while it is imported itself

WITHOUT_ROLE: Final = frozenset({"OPTIONS"})  # what a route offers is no secret to somebody who is known
HIDDEN: Final = ("auth", "sessions", "contenttypes", "admin", "web", "axes")  # accounts are a superuser's


def role_of(user: User | AnonymousUser | AbstractBaseUser) -> Role | None:
    """The highest role of an active user, None without one; a superuser is a trader, and more.

    Groups are read once for each user object, as Django does with permissions: a page asks dozens of times.
    """
    if not user.is_active or not isinstance(user, User):
        return None
    if user.is_superuser:
        return Role.TRADER
    prefetch_related_objects([user], "groups")
    held = {group.name for group in user.groups.all()}
    return max((role for role in Role if role.label in held), default=None)


def missing(user: User | AnonymousUser | AbstractBaseUser, needed: Role) -> str:
    """What the user lacks for something that needs this role, as one sentence; empty when nothing."""
    held = role_of(user)
    if held is not None and held >= needed:
        return ""
    return f"this needs the role {needed.label}, you have {held.label if held else 'none'}"


def demand(request: Request, needed: Role) -> None:
    """Refuse the request with 403 unless its user has the role; the problem names both."""
    lacking = missing(request.user, needed)
    if lacking:
        raise exceptions.PermissionDenied(lacking)


class RolePermission(BasePermission):
    """Every API view stands behind this: the table decides, and what it does not name is refused."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        user = request.user
        if user is None or not user.is_authenticated:
            return False
        method = str(request.method)
        if method in WITHOUT_ROLE or method.lower() not in view.http_method_names:
            return True
        if not hasattr(view, method.lower()) and method != "HEAD":
            return True  # 405 tells more than 403
        match = request.resolver_match
        rule = roles.rule(str(match.url_name) if match else "", method)
        if rule is None:
            self.message = "this address has no rule yet that says who may use it"
            return False
        if rule.role is not None:
            self.message = missing(user, rule.role)
            return not self.message
        return True


def keep_groups(sender: AppConfig | None = None, **_: Any) -> None:
    """After `migrate`: the three groups, each with exactly the permissions that its role needs in the admin.

    Whoever wants another mix makes another group. Runs once, when the permissions of every app are there.
    """
    if sender is not None and sender is not _last():
        return
    wanted: set[Permission] = set()
    for role in Role:
        wanted |= set(Permission.objects.filter(_permissions(role)))
        group, _made = Group.objects.get_or_create(name=role.label)
        group.permissions.set(wanted)


def give_role(user: User, role: Role) -> None:
    """Make `role` the user's only role."""
    keep = user.groups.exclude(name__in=[each.label for each in Role])
    user.groups.set([*keep, Group.objects.get_or_create(name=role.label)[0]])


def _permissions(role: Role) -> Q:
    """What a role adds in the admin to the role before; pages that are read only refuse by themselves."""
    if role is Role.VIEWER:
        return Q(codename__startswith="view_") & ~Q(content_type__app_label__in=HIDDEN)
    changes = Q(codename__startswith="change_") | Q(codename__startswith="add_")
    return changes & Q(content_type__app_label__in=settings.ROLE_CHANGES[role.label])


def _last() -> AppConfig | None:
    """The app whose permissions `migrate` makes last."""
    with_models = [config for config in apps.get_app_configs() if config.models_module is not None]
    return with_models[-1] if with_models else None
