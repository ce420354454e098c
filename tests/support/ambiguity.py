"""How long a regular expression may look for a match, told from the expression alone.

A backtracking engine takes more than linear time where one text can be read in several ways: where a loop can be left
and entered again on the same text (exponential), where a text that one loop reads is read by a later one as well, or
where an expression that is looked for anywhere can begin inside a loop of its own (both quadratic or worse). The search
here is for such texts, in products of the expression's automaton with itself (Weideman et al., "Analyzing matching time
behavior of backtracking regular expression matchers by using ambiguity of NFA", 2016). Anchors and lookbehinds count as
nothing, atomic groups as plain ones: what is found to be linear is so.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from re import _compiler, _constants, _parser  # type: ignore[attr-defined]
from typing import Any

LETTERS = [*map(chr, range(128)), "\xa0", "é", "٣", "\u2028"]
Set = frozenset[str]


class _Automaton:
    """States are numbers; `letters` are moves that read one of a set, `free` those that read nothing."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.letters: dict[int, tuple[Set, int]] = {}
        self.free: dict[int, list[int]] = {}
        self.parsed = _parser.parse(pattern, flags)
        self.stop = self._state()
        self.dead = self._state()
        self.start = self._sequence(self.parsed, self.stop)

    def _state(self, *to: int) -> int:
        self.free[len(self.free)] = list(to)
        return len(self.free) - 1

    def _sequence(self, items: Any, then: int) -> int:
        for item in reversed(list(items)):
            then = self._item(item, then)
        return then

    def _item(self, item: Any, then: int) -> int:
        kind, value = str(item[0]), item[1]
        if kind in {"LITERAL", "NOT_LITERAL", "IN", "ANY"}:
            one = _compiler.compile(_parser.SubPattern(self.parsed.state, [item]), self.parsed.state.flags)
            state = self._state()
            self.letters[state] = frozenset(letter for letter in LETTERS if one.fullmatch(letter)), then
            return state
        if kind in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            return self._repeat(*value, then)
        if kind in {"SUBPATTERN", "ATOMIC_GROUP"}:
            return self._sequence(value[-1] if kind == "SUBPATTERN" else value, then)
        if kind == "BRANCH":
            return self._state(*(self._sequence(each, then) for each in value[1]))
        return self._state(*self._without_letters(kind, value, then))

    def _without_letters(self, kind: str, value: Any, then: int) -> list[int]:
        if kind in {"ASSERT", "ASSERT_NOT"}:
            direction, body = value
            return [then, *([self._sequence(body, self.dead)] if direction > 0 else [])]
        if kind != "AT":
            raise ValueError(f"no rule for {kind}, which can take any time")
        if value in {_constants.AT_END, _constants.AT_END_STRING}:
            return [self.dead, *([] if then == self.stop else [then])]  # it fails where more comes
        return [then]

    def _repeat(self, least: int, most: Any, body: Any, then: int) -> int:
        if most is _constants.MAXREPEAT:
            loop = self._state()
            self.free[loop] = [self._sequence(body, loop), then]
            then = loop
        else:
            for _ in range(min(most - least, 2)):
                then = self._state(self._sequence(body, then), then)
        for _ in range(min(least, 2)):
            then = self._sequence(body, then)
        return then

    def reading(self, state: int, before: tuple[int, ...] = ()) -> Iterator[int]:
        """The states that read a letter, or the end, after any number of free moves: once for each way to them."""
        if state in before:
            raise ValueError("a loop may read nothing again and again")
        if state in self.letters or not self.free[state]:
            yield state
        for each in self.free[state]:
            yield from self.reading(each, (*before, state))


def trouble(pattern: str, flags: int = 0, *, anywhere: bool = True, whole: bool = False) -> str:
    """Why matching may take more than linear time; empty where it never does.

    `anywhere`: the match may begin at any letter. `whole`: it must reach the end of the text.
    """
    made = _Automaton(pattern, flags)
    try:
        after = {state: list(made.reading(then)) for state, (_, then) in made.letters.items()}
        first = list(made.reading(made.start))
    except ValueError as error:
        return str(error)
    sets = {state: letters for state, (letters, _) in made.letters.items()}
    moves = {state: [each for each in found if each in sets] for state, found in after.items()}
    if anywhere and not (made.parsed.data and made.parsed.data[0] == (_constants.AT, _constants.AT_BEGINNING)):
        sets[-1] = frozenset(LETTERS)
        moves[-1] = [-1, *(each for each in first if each in sets)]
    for p, q in product(sets, sets):
        cannot_fail = not whole and made.stop in after.get(q, ())
        if q in _reached(moves, q):
            if p == q and _two_ways_back(sets, moves, q):
                return f"a text can be read in two ways by one loop, over {_shown(sets[q])}"
            if p != q and not cannot_fail and _same_text(sets, moves, p, q):
                return f"a text can be shared in any way between {_shown(sets[p])} and {_shown(sets[q])}"
    return ""


def _reached(moves: dict[int, list[int]], start: int) -> set[int]:
    found, waiting = set[int](), [start]
    while waiting:
        for each in moves[waiting.pop()]:
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found


def _together(sets: dict[int, Set], moves: dict[int, list[int]], at: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Where several readers of one text may stand one letter later; each state stands before the letter it reads."""
    if frozenset.intersection(*(sets[each] for each in at)):
        yield from product(*(moves[each] for each in at))


def _found(sets: dict[int, Set], moves: dict[int, list[int]], start: tuple[int, ...], goal: tuple[int, ...]) -> bool:
    seen, waiting = set[tuple[int, ...]](), [start]
    while waiting:
        for each in _together(sets, moves, waiting.pop()):
            if each == goal:
                return True
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return False


def _same_text(sets: dict[int, Set], moves: dict[int, list[int]], p: int, q: int) -> bool:
    """Whether one text leads from p to p, from p to q, and from q to q."""
    return q in _reached(moves, p) and p in _reached(moves, p) and _found(sets, moves, (p, p, q), (p, q, q))


def _two_ways_back(sets: dict[int, Set], moves: dict[int, list[int]], q: int) -> bool:
    """Whether one text leads from q to q in two ways."""
    for each in _reached(moves, q):
        if q not in _reached(moves, each):
            continue
        if any(moves[each].count(then) > 1 and q in {then, *_reached(moves, then)} for then in moves[each]):
            return True
        if each != q and _found(sets, moves, (q, q), (q, each)) and _found(sets, moves, (q, each), (q, q)):
            return True
    return False


def _shown(letters: Set) -> str:
    return repr("".join(sorted(letters))[:12])
