"""Where passages come from and how they are found: corpus readers and the searchers behind one protocol."""

from piplay.search.bm25 import BM25Searcher
from piplay.search.corpus import read_corpus
from piplay.search.searcher import Searcher

__all__ = ["BM25Searcher", "Searcher", "read_corpus"]
