"""What ``piplay world`` does: make, import, ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from piplay.envs.world.generate import articles
from piplay.envs.world.questions import Solver, Verdict
from piplay.envs.world.store import World, default_world, read_world, write_world
from piplay.envs.world.tables import Summary, read_tables
from piplay.errors import InputError

MIN_SIZE, MAX_SIZE = 100, 1_000_000
"""Entities below which the ten types of the encyclopedia have hardly two members each, and up to which it is tried."""


def make(out: Path, seed: int = 0, size: int = 700, per_hop: int = 100) -> World:
    """Generate the fictional encyclopedia and write it to a folder."""
    if size < MIN_SIZE:
        raise InputError(f"--size is {size}: the encyclopedia needs at least {MIN_SIZE} entities.")
    if size > MAX_SIZE:
        raise InputError(f"--size is {size}: the encyclopedia has at most {MAX_SIZE} entities.")
    _check_per_hop(per_hop)
    world = write_world(out, articles(seed, size), seed, f"encyclopedia of {size} entities", per_hop)
    _print_world(world, out)
    return world


def import_(
    tables: Sequence[Path],
    out: Path,
    key: str | None = None,
    kind: str | None = None,
    columns: Sequence[str] | None = None,
    seed: int = 0,
    per_hop: int = 100,
) -> World:
    """Make a world of your own tables (CSV, JSONL, SQLite) and write it to a folder."""
    _check_per_hop(per_hop)
    records, summary = read_tables(tables, key=key, kind=kind, columns=columns)
    world = write_world(out, records, seed, ", ".join(Path(table).name for table in tables), per_hop)
    _print_summary(summary)
    _print_world(world, out)
    return world


def ask(question: str, world: Path | None = None) -> Verdict:
    """Solve a question, and show each step with the passage that it stands in (default: the default world)."""
    ground = default_world() if world is None else read_world(world)
    solution = Solver(ground.records).solve(question)
    print(f"{solution.verdict}: {', '.join(solution.answers)}" if solution.answers else solution.verdict)
    if solution.verdict is Verdict.UNKNOWN:
        print('  Not read as a chain of relations; ask like "What is the river of the capital of X?"')
        return solution.verdict
    place = {name: i for i, name in enumerate(ground.records.by_name)}
    value = solution.start
    for number, relation in enumerate(solution.relations, 1):
        entity = ground.records.by_name.get(value)
        if entity is None or relation not in entity.facts:
            print(f'  {number}. {value or "the start"} has no "{relation}"')
            break
        print(f"  {number}. {relation} of {value}: {entity.facts[relation]}")
        shown = ground.passages[place[value]]
        print(f"     {shown.title}: {shown.text}")
        value = entity.facts[relation]
    return solution.verdict


def _check_per_hop(per_hop: int) -> None:
    if per_hop < 1:
        raise InputError(f"--per-hop is {per_hop}: give the number of questions of each hop count, at least 1.")


def _print_summary(summary: Summary) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary.kinds.items())
    print(f"{summary.rows} rows read, kept as entities: {kinds}")
    for relation, count in summary.facts.items():
        print(f"  {relation}: {count} facts, {summary.links[relation]} links")
    left = {
        "cells that are no short value": summary.skipped_cells,
        "rows without a usable name": summary.unnamed,
        "rows with the name of an earlier row": summary.duplicates,
        "rows without facts": summary.bare,
    }
    for what, count in left.items():
        if count:
            print(f"  left out: {count} {what}")
    if summary.renamed:
        print(f"  renamed: {summary.renamed} rows with a name of an earlier table, to name (kind)")


def _print_world(world: World, out: Path) -> None:
    print(f"{out}: {len(world.passages)} passages, {len(world.train_ids)} of them to start self-play from")
    for label, questions in (("train", world.train), ("held-out", world.heldout)):
        counts = Counter(question.hops for question in questions)
        print(f"  {label} questions of 1-4 hops: {', '.join(str(counts[hops]) for hops in (1, 2, 3, 4))}")
