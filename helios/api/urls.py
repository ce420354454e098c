"""Addresses under /api/modularity/. Each name has its rule in `helios.web.roles`."""

from django.urls import path

from helios.api.breakers import views as breakers
from helios.api.flags import segments
from helios.api.flags import views as flags
from helios.api.modules import views as modules
from helios.api.rollouts import views as rollouts
from helios.api.system import status

urlpatterns = [
    path("status", status.StatusView.as_view(), name="modularity-status"),
    path("feature-flags", flags.FlagList.as_view(), name="flag-list"),
    path("feature-flags/stale", segments.Stale.as_view(), name="flag-stale"),
    path("feature-flags/enable", flags.FlagEnableNamed.as_view(), name="flag-enable-named"),
    path("feature-flags/disable", flags.FlagDisableNamed.as_view(), name="flag-disable-named"),
    path("feature-flags/percentage", flags.FlagPercentageNamed.as_view(), name="flag-percentage-named"),
    path("feature-flags/<str:name>", flags.FlagDetail.as_view(), name="flag-detail"),
    path("feature-flags/<str:name>/check", flags.FlagCheck.as_view(), name="flag-check"),
    path("feature-flags/<str:name>/history", flags.FlagHistory.as_view(), name="flag-history"),
    path("feature-flags/<str:name>/enable", flags.FlagEnable.as_view(), name="flag-enable"),
    path("feature-flags/<str:name>/disable", flags.FlagDisable.as_view(), name="flag-disable"),
    path("feature-flags/<str:name>/percentage", flags.FlagPercentage.as_view(), name="flag-percentage"),
    path("feature-flags/<str:name>/kill-switch", flags.FlagKill.as_view(), name="flag-kill"),
    path("feature-flags/<str:name>/restore", flags.FlagRestore.as_view(), name="flag-restore"),
    path("feature-flags/<str:name>/whitelist/add", flags.WhitelistAdd.as_view(), name="flag-whitelist-add"),
    path("feature-flags/<str:name>/whitelist/remove", flags.WhitelistRemove.as_view(), name="flag-whitelist-remove"),
    path("segments", segments.SegmentList.as_view(), name="segment-list"),
    path("segments/<str:name>", segments.SegmentDetail.as_view(), name="segment-detail"),
    path("circuit-breakers", breakers.BreakerList.as_view(), name="breaker-list"),
    path("circuit-breakers/reset-all", breakers.ResetAll.as_view(), name="breaker-reset-all"),
    path("circuit-breakers/<str:name>", breakers.BreakerDetail.as_view(), name="breaker-detail"),
    path("circuit-breakers/<str:name>/history", breakers.History.as_view(), name="breaker-history"),
    path("circuit-breakers/<str:name>/open", breakers.Open.as_view(), name="breaker-open"),
    path("circuit-breakers/<str:name>/close", breakers.Close.as_view(), name="breaker-close"),
    path("circuit-breakers/<str:name>/reset", breakers.Reset.as_view(), name="breaker-reset"),
    path("circuit-breakers/<str:name>/metrics-only", breakers.MetricsOnly.as_view(), name="breaker-metrics-only"),
    path("circuit-breakers/<str:name>/normal", breakers.Normal.as_view(), name="breaker-normal"),
    path("modules", modules.ModuleList.as_view(), name="module-list"),
    path("modules/status", modules.ModuleStatuses.as_view(), name="module-statuses"),
    path("modules/register", modules.Register.as_view(), name="module-register"),
    path("modules/swap", modules.Swap.as_view(), name="module-swap"),
    path("modules/jobs/<int:pk>", modules.JobDetail.as_view(), name="module-job"),
    path("modules/jobs/<int:pk>/cancel", modules.CancelJob.as_view(), name="module-cancel"),
    path("modules/swaps", modules.SwapList.as_view(), name="swap-list"),
    path("modules/swaps/<int:pk>", modules.SwapDetail.as_view(), name="swap-detail"),
    path("modules/<str:name>/status", modules.ModuleStatus.as_view(), name="module-status"),
    path("modules/<str:name>/versions", modules.Versions.as_view(), name="module-versions"),
    path("modules/<str:name>/load", modules.Load.as_view(), name="module-load"),
    path("modules/<str:name>/activate", modules.Activate.as_view(), name="module-activate"),
    path("modules/<str:name>/unload", modules.Unload.as_view(), name="module-unload"),
    path("modules/<str:name>/test", modules.Test.as_view(), name="module-test"),
    path("modules/<str:name>/test-history", modules.TestHistory.as_view(), name="module-test-history"),
    path("modules/<str:name>/test-history/<int:pk>", modules.TestRun.as_view(), name="module-test-run"),
    path("modules/<str:name>/rollback", modules.Rollback.as_view(), name="module-rollback"),
    path("rollouts", rollouts.RolloutList.as_view(), name="rollout-list"),
    path("rollouts/<str:name>", rollouts.RolloutDetail.as_view(), name="rollout-detail"),
    path("rollouts/<str:name>/analyses", rollouts.Analyses.as_view(), name="rollout-analyses"),
    path("rollouts/<str:name>/history", rollouts.History.as_view(), name="rollout-history"),
    path("rollouts/<str:name>/statistics", rollouts.Statistics.as_view(), name="rollout-statistics"),
    path("rollouts/<str:name>/start", rollouts.Start.as_view(), name="rollout-start"),
    path("rollouts/<str:name>/pause", rollouts.Pause.as_view(), name="rollout-pause"),
    path("rollouts/<str:name>/resume", rollouts.Resume.as_view(), name="rollout-resume"),
    path("rollouts/<str:name>/promote", rollouts.Promote.as_view(), name="rollout-promote"),
    path("rollouts/<str:name>/abort", rollouts.Abort.as_view(), name="rollout-abort"),
]
