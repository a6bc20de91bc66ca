"""Full-text search over the tracks of a release: titles, artists, genres, in memory (tantivy, BM25).

    WordIndex(items).search("night bus long exposure")     # dense tracks, best first

A query is taken as plain words: it has no syntax, so no text of a client's can break it.
"""

from __future__ import annotations

import threading

import polars as pl

from recsys.items import Items
from recsys.titles import folded

FIELDS = {"title": 2.0, "artist": 2.0, "genre": 1.0}  # what a word found there counts
WORDS = 12
_HEAP = 64_000_000
_CLOSE = 0.5  # hits below this share of the best one's score matched only some of the words


class Shared:
    """The one index behind the searches of a release and of its later states; grows by what is new or renamed."""

    def __init__(self) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        for field in FIELDS:
            builder.add_text_field(field, tokenizer_name="whitespace")
        self.schema = builder.add_integer_field("number", indexed=True, fast=True).build()
        self.index = tantivy.Index(self.schema)
        self.lock = threading.Lock()
        self.texts = pl.DataFrame(schema=dict.fromkeys(FIELDS, pl.String()))

    def follow(self, items: Items) -> None:
        """Brings the index up to a catalog whose first tracks are those that it has."""
        import tantivy

        frame = items.frame.select(title="title", artist="artist_name", genre="genre").fill_null("")
        with self.lock:
            changed = [*self._renamed(frame), *range(len(self.texts), len(frame))]
            if not changed:
                return
            writer = self.index.writer(_HEAP, num_threads=1)
            for number, row in zip(changed, frame[changed].to_dicts(), strict=True):
                if number < len(self.texts):
                    writer.delete_documents_by_term("number", number)
                fields = {field: folded(text) for field, text in row.items()}
                writer.add_document(tantivy.Document.from_dict({**fields, "number": number}, self.schema))
            writer.commit()
            writer.wait_merging_threads()
            self.index.reload()
            self.texts = frame

    def _renamed(self, frame: pl.DataFrame) -> list[int]:
        both = min(len(self.texts), len(frame))
        now, was = frame[:both], self.texts[:both]
        differs = pl.any_horizontal([now[field] != was[field] for field in FIELDS])
        return pl.select(differs.arg_true()).to_series().to_list() if both else []


class WordIndex:
    """Search over the tracks of one state of the catalog. It is built on first use; `warm()` does that at once."""

    def __init__(self, items: Items, shared: Shared | None = None) -> None:
        self.items = items
        self._shared = shared
        self._lock = threading.Lock()

    def over(self, items: Items) -> WordIndex:
        """The same for a later state of the catalog: tracks keep their numbers, some are new or renamed."""
        with self._lock:
            if self._shared is not None:
                self._shared.follow(items)
            return WordIndex(items, self._shared)

    def warm(self) -> Shared:
        """The index, built if need be."""
        with self._lock:
            if self._shared is None:
                shared = Shared()
                shared.follow(self.items)
                self._shared = shared
            return self._shared

    def search(self, text: str, limit: int = 20) -> list[int]:
        """Dense tracks, best first; empty where nothing matches. One misspelt letter a word is forgiven."""
        words = folded(text).split()[:WORDS]
        if not words:
            return []
        return self._hits(words, limit, fuzzy=False) or self._hits(words, limit, fuzzy=True)

    def _hits(self, words: list[str], limit: int, fuzzy: bool) -> list[int]:
        import tantivy

        shared = self.warm()
        term = tantivy.Query.fuzzy_term_query if fuzzy else tantivy.Query.term_query
        parts = [
            (tantivy.Occur.Should, tantivy.Query.boost_query(term(shared.schema, field, word), boost))
            for word in words
            for field, boost in FIELDS.items()
        ]
        searcher = shared.index.searcher()
        hits = searcher.search(tantivy.Query.boolean_query(parts), limit).hits
        kept = [address for score, address in hits if score >= _CLOSE * hits[0][0]]
        found = [n for n in searcher.fast_field_values("number", kept) if n is not None]
        return [int(n) for n in found if n < len(self.items)]
