"""What may go wrong with a rollout."""

from helios.errors import Conflict, NotFound, Rejected


class RolloutRefused(Rejected):
    """The request contradicts the plan or the state of the rollout; nothing was changed."""


class SeveralRollouts(Conflict, RolloutRefused):
    """More than one rollout had that name: whoever decides names the one that they saw."""


class UnknownRollout(NotFound):
    """No rollout of that name or number exists."""


class MeasuresUnusable(Rejected):
    """What the provider of measures said cannot be judged: it raised, or an arm is missing or contradicts itself."""
