"""A stand-in of VALR that trades by itself, in real time: `python -m tests.support.venues [PORT]`.

BTC/ZAR and ETH/ZAR walk at random from a day ago on, some trades a second, with ten offers about the price.
"""

from __future__ import annotations

import random
import sys
import time
from datetime import UTC, datetime, timedelta

from tests.support.venues.tape import MINUTE, Tape
from tests.support.venues.valr import StandIn

PRICES = {("BTC", "ZAR"): 1_900_000.0, ("ETH", "ZAR"): 62_000.0}
BACK = timedelta(hours=26)


def main(port: int) -> None:
    rng, prices = random.Random(), dict(PRICES)
    tapes = {pair: Tape() for pair in prices}
    now = datetime.now(UTC)
    at = now - BACK
    while at < now - timedelta(seconds=20):
        at += timedelta(seconds=rng.uniform(1, 20))
        for pair, tape in tapes.items():
            _trade(rng, prices, pair, tape, at)
    with StandIn(tapes, limited=False, port=port) as venue:
        sys.stdout.write(f"HELIOS_VALR_URL={venue.url}\n")
        sys.stdout.flush()
        told = at.replace(second=0, microsecond=0)
        while True:
            time.sleep(rng.uniform(0.05, 0.5))
            at = datetime.now(UTC)
            while told + MINUTE <= at:
                for (base, quote), tape in tapes.items():
                    for bar in tape.minutes(told, told + MINUTE):
                        venue.stream.bucket(f"{base}{quote}", bar)
                told += MINUTE
            pair = rng.choice(list(tapes))
            before = prices[pair]
            venue.stream.trade("".join(pair), _trade(rng, prices, pair, tapes[pair], at))
            for side, name, price, quantity in _offers(rng, before, prices[pair]):
                venue.stream.offer(at, "".join(pair), side, name, price, quantity)
            venue.stream.summary("".join(pair), at, lastTradedPrice=f"{prices[pair]:.0f}")


def _trade(rng: random.Random, prices: dict, pair: tuple[str, str], tape: Tape, at: datetime):
    prices[pair] *= 1 + rng.gauss(0, 0.0004)
    return tape.add(at, f"{prices[pair]:.0f}", f"{rng.expovariate(50):.8f}", rng.choice(["buy", "sell"]))


def _offers(rng: random.Random, before: float, price: float) -> list[tuple[str, str, str, str]]:
    """Ten offers about a price, first those of the side that it moves away from: so that no bid meets an ask."""
    found = [
        (side, f"{side}-{n}", f"{price * (1 + sign * n / 5_000):.0f}", f"{rng.expovariate(5):.8f}")
        for side, sign in (("sell", 1), ("buy", -1))
        for n in range(1, 6)
    ]
    return found if price > before else found[::-1]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
