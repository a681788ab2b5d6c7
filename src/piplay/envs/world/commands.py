"""What ``piplay world`` does: make, import, ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from piplay.envs.search.corpus import read_corpus
from piplay.envs.world.generate import articles
from piplay.envs.world.join import Join, arranged, join
from piplay.envs.world.questions import Solver, Verdict
from piplay.envs.world.store import World, default_world, read_world, write_world
from piplay.envs.world.tables import Summary, count, read_tables
from piplay.errors import InputError, nearest

MIN_SIZE, MAX_SIZE = 100, 1_000_000
"""Entities below which the ten types of the encyclopedia have hardly two members each, and up to which it is tried."""
SHOWN = 3
"""Passages of a hop that are shown, where several values lead on."""


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
    *,
    passages: Path | None = None,
    key: str | None = None,
    kind: str | None = None,
    columns: Sequence[str] | None = None,
    lists: Sequence[str] | None = None,
    aliases: Sequence[str] = (),
    keep_missing: bool = False,
    seed: int = 0,
    per_hop: int = 100,
) -> World:
    """Make a world of your own tables (CSV, JSONL, SQLite) and write it to a folder.

    ``passages`` is a corpus of your own that tells of the rows, in the place of rendered text; for the others see
    ``read_tables``.
    """
    _check_per_hop(per_hop)
    records, summary = read_tables(
        tables,
        key=key,
        kind=kind,
        columns=columns,
        lists=lists,
        aliases=aliases,
        keep_missing=keep_missing,
        linked=passages is None,
    )
    source, text, told = ", ".join(Path(table).name for table in tables), None, None
    if passages is not None:
        corpus = read_corpus(passages)
        records, places, told = join(records, corpus, str(passages))
        count(records, summary)
        source, text = f"{source}, {passages.name}", partial(arranged, corpus=corpus, places=places)
    world = write_world(out, records, seed, source, per_hop, text)
    _print_summary(summary)
    if told is not None:
        _print_join(told)
    _print_world(world, out)
    return world


def ask(question: str, world: Path | None = None) -> Verdict:
    """Solve a question, and show each step with the passage that it stands in (default: the default world)."""
    ground = default_world() if world is None else read_world(world)
    solution = Solver(ground.records).solve(question)
    several = "" if len(solution.ends) < 2 else " (all of them)" if solution.asks_all else " (any of them)"
    print(f"{solution.verdict}: {', '.join(solution.answers)}{several}" if solution.answers else solution.verdict)
    if solution.verdict is Verdict.UNKNOWN:
        print('  Not read as a chain of relations; ask like "What is the river of the capital of X?"')
        return solution.verdict
    if solution.stranger:
        known = [name.lower() for name in ground.records.by_name]
        print(f'  Nothing here is called "{solution.stranger}"{nearest(solution.stranger, known)}.')
        return solution.verdict
    place = {name: i for i, name in enumerate(ground.records.by_name)}
    values = [solution.start]
    for number, relation in enumerate(solution.relations, 1):
        owners = [value for value in values if value in place and relation in ground.records.by_name[value].facts]
        if not owners:
            facts = {fact for value in values if value in place for fact in ground.records.by_name[value].facts}
            print(f'  {number}. {" or ".join(filter(None, values))} has no "{relation}"{nearest(relation, facts)}')
            break
        for owner in owners[:SHOWN]:
            print(f"  {number}. {relation} of {owner}: {'; '.join(ground.records.by_name[owner].right(relation))}")
            shown = ground.passages[place[owner]]
            print(f"     {shown.title}: {shown.text}")
        if len(owners) > SHOWN:
            print(f"     and so for {len(owners) - SHOWN} more")
        values = list(dict.fromkeys(value for o in owners for value in ground.records.by_name[o].right(relation)))
    return solution.verdict


def _check_per_hop(per_hop: int) -> None:
    if per_hop < 1:
        raise InputError(f"--per-hop is {per_hop}: give the number of questions of each hop count, at least 1.")


def _print_summary(summary: Summary) -> None:
    for note in summary.notes:
        print(note)
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary.kinds.items())
    print(f"{summary.rows} rows read, kept as entities: {kinds} (what a row of a table is: --kind WORD)")
    for relation, facts in summary.facts.items():
        lists = f", lists in {summary.lists[relation]} rows" if relation in summary.lists else ""
        print(f"  {relation}: {facts} facts, {summary.links[relation]} links{lists}")
    if summary.aliases:
        print(f"  other names: {summary.aliases}")
    marks = ", ".join(f"{mark} {times}" for mark, times in summary.missing.most_common())
    left = [
        (f"cells that hold a mark for nothing ({marks}; --keep-missing keeps them)", summary.missing.total(), ""),
        ("cells that are no short value", summary.skipped_cells, ""),
        ("rows without a usable name", summary.unnamed, "unnamed"),
        ("rows with the name of an earlier row", summary.duplicates, "duplicates"),
        ("rows without facts, to which nothing links", summary.bare, "bare"),
        ("other names that another row has", summary.taken_aliases, "taken_aliases"),
    ]
    for what, times, counted in left:
        some = summary.examples.get(counted, [])
        named = f": {', '.join(some)}{' …' if times > len(some) else ''}" if some else ""
        if times:
            print(f"  left out: {times} {what}{named}")
    if summary.renamed:
        print(f"  renamed: {summary.renamed} rows with a name of an earlier table, to name (kind)")
    for relation, times in summary.rewritten.items():
        print(f"  {relation}: {times} numbers written plainly (1994.0 as 1994, (5) as -5)")
    _print_confused(summary)


def _print_confused(summary: Summary) -> None:
    """What programs that compare by SQuAD's rule, ``eval --bench`` among them, would get wrong."""
    for relation, lost in summary.confused.items():
        said = (
            [f"takes {len(lost.pairs)} values for others (such as {' and '.join(lost.pairs[0])})"] if lost.pairs else []
        )
        if lost.nothing:
            said.append(f"can never match {len(lost.nothing)} (such as {lost.nothing[0]})")
        print(f"  {relation}: SQuAD's rule {', and '.join(said)}; piplay compares them as what they are")


def _print_join(told: Join) -> None:
    print(f"{told.passages} passages: {told.rows} rows have one by their title, {told.without} rows have none")
    if told.several:
        print(f"  {told.several} rows have several: the one that states most is theirs")
    print(f"  {told.stated} facts are stated by their passage, {told.unstated} are not and are left out")
    for relation, (stated, unstated) in told.relations.items():
        print(f"    {relation}: {stated} stated, {unstated} not")


def _print_world(world: World, out: Path) -> None:
    print(f"{out}: {len(world.passages)} passages, {len(world.train_ids)} of them to start self-play from")
    for label, questions in (("train", world.train), ("held-out", world.heldout)):
        counts = Counter(question.hops for question in questions)
        print(f"  {label} questions of 1-4 hops: {', '.join(str(counts[hops]) for hops in (1, 2, 3, 4))}")
