"""Shapes of the platform's own answers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class DatabaseInfo(serializers.Serializer[dict[str, Any]]):
    version = serializers.CharField()
    size_bytes = serializers.IntegerField()


class RedisInfo(serializers.Serializer[dict[str, Any]]):
    version = serializers.CharField(allow_null=True)
    used_memory_bytes = serializers.IntegerField(allow_null=True)


class SystemInfo(serializers.Serializer[dict[str, Any]]):
    name = serializers.CharField()
    version = serializers.CharField()
    environment = serializers.ChoiceField(choices=["dev", "staging", "prod"])
    debug = serializers.BooleanField()
    python = serializers.CharField()
    packages = serializers.DictField(child=serializers.CharField())
    database = DatabaseInfo()
    redis = RedisInfo()
    started_at = serializers.DateTimeField()
    uptime_s = serializers.FloatField()
    now = serializers.DateTimeField()
