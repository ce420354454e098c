"""The tiers as Helios ships them, for runs that no registry of modules stands behind."""

from tiers import execute, features, llm, portfolio, predict, risk
from tiers.contracts.protocols import Tiers

BUILT_IN = Tiers(features=features, predict=predict, risk=risk, llm=llm, portfolio=portfolio, execute=execute)
