"""Fault plans: what goes wrong when, decided from a seed before a run begins.

A plan is data. It is drawn in advance, so that leaving one fault out of it moves no other; it survives JSON, so that a
failure can be kept as a file. What a fault does to a world is a hook that is bound to its kind later; this module knows
of no network, venue or engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import attrs
import msgspec

from kraken_engine.errors import DecodeError, UsageError
from kraken_engine.runtime import Rng, seeded_rng

__all__ = [
    "Apply",
    "Burst",
    "Catalogue",
    "Choice",
    "Fault",
    "FaultKind",
    "Number",
    "Parameter",
    "Plan",
    "Value",
    "draw_plan",
]

Value = str | int | float | bool
"""What a parameter of a fault may be."""

Apply = Callable[[Any, "Fault"], Awaitable[None]]
"""``await apply(world, fault)`` makes it so, and returns when the fault is over."""

TARGETS = 1000
"""A target's number is below this; whoever applies the fault counts round what there is to choose from."""
MOST_FAULTS = 100_000


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong."""

    at_s: float
    """Virtual seconds after the beginning of the run."""
    kind: str
    """Name of its :class:`FaultKind`."""
    target: int = 0
    """Which of the things it could hit, modulo their number at that time: they are not known in advance."""
    params: Mapping[str, Value] = attrs.field(factory=dict[str, Value])


@attrs.frozen(kw_only=True)
class Plan:
    """The faults of one run, in order of time."""

    seed: str
    """What the run was seeded with; faults are part of the plan and do not depend on it any more."""
    horizon_s: float
    faults: tuple[Fault, ...] = ()

    def to_json(self) -> str:
        """Return the plan as JSON, one fault a line."""
        faults = ",\n".join(f"  {json.dumps(attrs.asdict(fault), sort_keys=True)}" for fault in self.faults)
        head = f'{{"seed": {json.dumps(self.seed)}, "horizon_s": {json.dumps(self.horizon_s)}, "faults": ['
        return f"{head}\n{faults}\n]}}\n" if faults else f"{head}]}}\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Read what :meth:`to_json` wrote, or somebody by hand.

        Raises:
            DecodeError: it is no such document; its path says where.
        """
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise DecodeError("$", "a fault plan as JSON", str(error)) from None
        fields = _object(document, "$", required=("seed", "horizon_s"), optional=("faults",))
        horizon_s = _seconds(fields["horizon_s"], "$.horizon_s")
        listed = fields.get("faults", [])
        if not isinstance(listed, list):
            raise DecodeError("$.faults", "a list of faults", listed)
        ones = cast("list[object]", listed)
        if len(ones) > MOST_FAULTS:
            raise DecodeError("$.faults", f"at most {MOST_FAULTS} faults", len(ones))
        faults = [_fault(one, f"$.faults[{index}]") for index, one in enumerate(ones)]
        return cls(seed=_text(fields["seed"], "$.seed"), horizon_s=horizon_s, faults=_in_order(faults))


@attrs.frozen
class Number:
    """A parameter drawn between two bounds; ``log`` spreads it evenly over the orders of magnitude."""

    low: float
    high: float
    log: bool = attrs.field(default=False, kw_only=True)
    whole: bool = attrs.field(default=False, kw_only=True)

    def draw(self, rng: Rng) -> Value:
        """Return a number within the bounds, with three decimals at most."""
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = rng.uniform(self.low, self.high)
        return round(drawn) if self.whole else min(self.high, max(self.low, round(drawn, 3)))


@attrs.frozen
class Choice:
    """A parameter that is one of some values."""

    options: tuple[Value, ...]

    def draw(self, rng: Rng) -> Value:
        """Return one of them."""
        return rng.choice(self.options)


Parameter = Number | Choice


@attrs.frozen(kw_only=True)
class Burst:
    """What does not come alone now and then: some answers are given only to what happens again and again."""

    share: float
    """Of the faults of its kind, so many begin a burst."""
    count: Number
    """How many more of the same follow, ..."""
    every_s: Number
    """... and how far apart."""


@attrs.frozen(kw_only=True)
class FaultKind:
    """A kind of fault."""

    name: str
    number: int
    """Its row in the fault matrix (:mod:`~kraken_engine.sim.catalogue`)."""
    place: str = "network"
    """What it happens to: network, venue, clock, disk, host."""
    aims_at: str | None = None
    """What a fault's ``target`` counts: link, session, symbol, subscription (a symbol of a session); None: nothing."""
    command: str | None = None
    """A command of the simulated venue that takes the parameters as they are (``for_s`` aside)."""
    weight: float = 1.0
    """How often it is drawn, compared with the others."""
    parameters: Mapping[str, Parameter] = attrs.field(factory=dict[str, Parameter])
    burst: Burst | None = None
    """None: each of its faults is drawn for itself."""
    apply: Apply | None = None
    """What it does to a world; None until somebody binds it."""

    def draw(self, rng: Rng, *, at_s: float) -> Fault:
        """Return a fault of this kind."""
        target = rng.randrange(TARGETS)
        return Fault(
            at_s=at_s,
            kind=self.name,
            target=target,
            params={name: parameter.draw(rng) for name, parameter in self.parameters.items()},
        )


class Catalogue:
    """Kinds of faults by name."""

    def __init__(self, kinds: Iterable[FaultKind]) -> None:
        self._kinds: dict[str, FaultKind] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise UsageError(f"catalogue: two kinds of fault are called {kind.name!r}")
            self._kinds[kind.name] = kind

    def __len__(self) -> int:
        return len(self._kinds)

    @property
    def kinds(self) -> Sequence[FaultKind]:
        """All kinds, in the order they were given."""
        return tuple(self._kinds.values())

    def kind(self, name: str) -> FaultKind:
        """Return the kind called ``name``.

        Raises:
            UsageError: there is none.
        """
        if name not in self._kinds:
            raise UsageError(f"fault: expected one of {', '.join(self._kinds)}, got {name!r}")
        return self._kinds[name]

    def bound(self, hooks: Mapping[str, Apply]) -> Catalogue:
        """Return a catalogue of the kinds named in ``hooks``, each with its hook.

        Raises:
            UsageError: a hook for a kind that does not exist.
        """
        wanted = {self.kind(name).name: apply for name, apply in hooks.items()}
        return Catalogue(
            attrs.evolve(kind, apply=wanted[kind.name]) for kind in self._kinds.values() if kind.name in wanted
        )

    def only(self, names: Iterable[str]) -> Catalogue:
        """Return a catalogue of the kinds called ``names``.

        Raises:
            UsageError: one of them does not exist.
        """
        return Catalogue(self.kind(name) for name in names)

    async def apply(self, world: object, fault: Fault) -> None:
        """Make ``fault`` happen in ``world``, and return when it is over.

        Raises:
            UsageError: no such kind, or nobody bound a hook to it.
        """
        hook = self.kind(fault.kind).apply
        if hook is None:
            raise UsageError(f"fault: nobody bound a hook to {fault.kind!r}")
        await hook(world, fault)


def draw_plan(seed: object, horizon_s: float, catalogue: Catalogue, *, faults_per_min: float) -> Plan:
    """Draw a plan: swarm testing, where each seed enables its own random subset of the kinds.

    A run with few kinds gets further into what they do together than one with a little of everything (Groce and
    others, "Swarm Testing", ISSTA 2012).

    Args:
        seed: decides everything drawn here, through its ``str``.
        horizon_s: virtual seconds; all faults begin before.
        catalogue: kinds to choose from.
        faults_per_min: how many a virtual minute on average.
    """
    rng = seeded_rng(f"plan:{seed}")
    kinds = list(catalogue.kinds)
    if kinds:
        kinds = rng.sample(kinds, rng.randint(1, len(kinds)))
    weights = [kind.weight for kind in kinds]
    faults: list[Fault] = []
    at_s = 0.0
    while kinds and faults_per_min > 0 and len(faults) < MOST_FAULTS:
        at_s += rng.expovariate(faults_per_min / 60)
        if round(at_s, 3) >= horizon_s:
            break
        (kind,) = rng.choices(kinds, weights)
        faults.append(kind.draw(rng, at_s=round(at_s, 3)))
    faults += _followers(faults, catalogue, seeded_rng(f"bursts:{seed}"), horizon_s)
    return Plan(seed=str(seed), horizon_s=horizon_s, faults=_in_order(faults))


def _followers(faults: Sequence[Fault], catalogue: Catalogue, rng: Rng, horizon_s: float) -> list[Fault]:
    """Return what follows those of ``faults`` that begin a burst: the same again, at the same target."""
    followers: list[Fault] = []
    for first in faults:
        burst = catalogue.kind(first.kind).burst
        if burst is None or rng.random() >= burst.share:
            continue
        at_s = first.at_s
        for _ in range(int(burst.count.draw(rng))):
            at_s = round(at_s + float(burst.every_s.draw(rng)), 3)
            if at_s < horizon_s:
                followers.append(attrs.evolve(first, at_s=at_s))
    return followers


def _in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.at_s))


def _fault(document: object, path: str) -> Fault:
    fields = _object(document, path, required=("at_s", "kind"), optional=("target", "params"))
    target = fields.get("target", 0)
    if not isinstance(target, int) or isinstance(target, bool) or target < 0:
        raise DecodeError(f"{path}.target", "a whole number of 0 or more", target)
    params = fields.get("params", {})
    if not isinstance(params, dict):
        raise DecodeError(f"{path}.params", "an object", params)
    values: dict[str, Value] = {}
    for name, value in cast("dict[str, object]", params).items():
        if not isinstance(value, (str, int, float, bool)):
            raise DecodeError(f"{path}.params.{name}", "a string, number or truth value", value)
        values[name] = value
    kind = _text(fields["kind"], f"{path}.kind")
    return Fault(at_s=_seconds(fields["at_s"], f"{path}.at_s"), kind=kind, target=target, params=values)


def _object(
    document: object, path: str, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> Mapping[str, object]:
    if not isinstance(document, dict):
        raise DecodeError(path, "an object", document)
    fields = cast("dict[str, object]", document)
    for name in required:
        if name not in fields:
            raise DecodeError(f"{path}.{name}", "to be there", "nothing")
    for name in fields:
        if name not in required + optional:
            raise DecodeError(path, f"only {', '.join(required + optional)}", name)
    return fields


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise DecodeError(path, "a string", value)
    return value


def _seconds(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise DecodeError(path, "seconds, 0 or more", value)
    return float(value)
