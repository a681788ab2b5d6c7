"""What the commands of worlds and indexes take, as in ``options.py``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand


@dataclass(frozen=True)
class MakeWorld:
    """Generate a fictional encyclopedia."""

    out: Positional[Path]
    seed: int = 0
    size: int = 700
    """Entities, and passages: 100 to 1,000,000."""
    per_hop: int = 100
    """Questions of each hop count, in each of the two sets."""


@dataclass(frozen=True)
class ImportWorld:
    """Make a world of your own tables: a row an entity, a column a relation, a value that names a row a link."""

    tables: Positional[tuple[Path, ...]]
    """CSV, JSONL or SQLite files; FILE.sqlite:TABLE takes one table."""
    out: Path
    key: str | None = None
    """The column that names a row; by default the first."""
    kind: str | None = None
    """What a row is; by default the file's or the table's name."""
    columns: tuple[str, ...] | None = None
    """The columns to keep; by default all."""
    lists: tuple[str, ...] | None = None
    """The columns whose cells hold several values; by default they are found. Without a name: none."""
    aliases: tuple[str, ...] = ()
    """Columns that name their row too, such as codes: what stands in them elsewhere is a link to it."""
    keep_missing: bool = False
    """Take NaN, None, N/A, - and the like as values."""
    passages: Path | None = None
    """A corpus with a passage a row, under its name: that text is searched, and only facts that it states are asked."""
    seed: int = 0
    per_hop: int = 100


@dataclass(frozen=True)
class AskWorld:
    """The true answer to a question, and the passages that hold it."""

    question: Positional[str]
    world: Path | None = None
    """A world folder; by default the default world."""


@dataclass(frozen=True)
class World:
    """Worlds: records put into passages, with questions whose truth is known."""

    do: (
        Annotated[MakeWorld, subcommand("make")]
        | Annotated[ImportWorld, subcommand("import")]
        | Annotated[AskWorld, subcommand("ask")]
    )


@dataclass(frozen=True)
class BuildIndex:
    """Index a corpus into a folder that can be served, copied and moved."""

    corpus: Positional[Path]
    """Text as --corpus takes it, or a world folder."""
    out: Path
    """A new folder."""
    title_weight: float | None = None
    """What a word in a title counts for one in the text; by default as in a run: 5, and in a world title and text are
    one."""
    passage_words: int = 50
    """Words of a passage, where a corpus is documents that are cut."""
    strict: bool = False
    """Refuse what of the corpus cannot be read; by default it is skipped and counted."""
    shards: int | None = None
    """Parts of the BM25 index, made one after the other; by default as many as keep each at 1,000,000 passages."""
    kind: Literal["bm25", "dense", "hybrid"] = "bm25"
    """By words, by vectors of an encoder, or by both."""
    encoder: Path | None = None
    """The encoder of a dense or hybrid index: a folder of sentence-transformers."""
    index: Literal["flat", "hnsw", "ivf-sq8"] | None = None
    """Of vectors: flat compares all, hnsw and ivf-sq8 some; by default flat up to 1,000,000 passages, then ivf-sq8."""
    import_: Annotated[Path | None, arg(name="import")] = None
    """A file of faiss, such as Search-R1's, with the passages' vectors in their order: nothing is encoded."""
    query_prefix: str | None = None
    """What the encoder reads before a query; by default its folder's own prompt, or E5's or BGE's by its name."""
    passage_prefix: str | None = None
    """The same before a passage."""
    dense_weight: float = 0.7
    """What vectors count in a hybrid index, from 0 to 1; words count the rest."""


@dataclass(frozen=True)
class ServeIndex:
    """Serve POST /retrieve, as Search-R1's clients ask it, until interrupted."""

    place: Positional[Path]
    """An index folder, or a corpus or a world, which is indexed first."""
    host: str = "127.0.0.1"
    """By default only this machine is answered; there is no password."""
    port: int = 8000
    """0 takes any that is free."""
    topk: int = 3
    """Passages a query, where a request does not say."""
    passage_words: int = 50
    """Words of a passage, where a corpus is documents that are cut."""
    mcp: bool = False
    """Serve MCP's tools search and fetch at /mcp, instead of /retrieve."""
    encoder: Path | None = None
    """Where the encoder of a dense or hybrid index is now, if no longer where it was."""
    rerank: Path | None = None
    """A CrossEncoder's folder, as sentence-transformers saves one: it reranks what is found."""


@dataclass(frozen=True)
class AskIndex:
    """Show what a query finds."""

    place: Positional[str]
    """An index folder, a corpus, a world, or the URL of a service."""
    query: Positional[str]
    topk: int = 3
    encoder: Path | None = None
    """Where the encoder of a dense or hybrid index is now, if no longer where it was."""
    rerank: Path | None = None
    """A CrossEncoder's folder that reranks what is found."""


@dataclass(frozen=True)
class Search:
    """Search without a model: make indexes, serve them, ask them."""

    do: (
        Annotated[BuildIndex, subcommand("build")]
        | Annotated[ServeIndex, subcommand("serve")]
        | Annotated[AskIndex, subcommand("ask")]
    )
