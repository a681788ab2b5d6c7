"""Where passages come from and how they are found: corpus readers and the searchers behind one protocol."""

from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.searcher import Searcher

__all__ = ["BM25Searcher", "Searcher", "read_corpus"]
