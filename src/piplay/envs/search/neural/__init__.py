"""Search by models: encoders, indexes of vectors, fusion with BM25 and rerankers (extra ``dense``)."""
