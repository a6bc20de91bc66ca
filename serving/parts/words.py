"""Full-text search over the tracks of a release: titles, artists, genres, in memory (tantivy, BM25).

    WordIndex(items).search("night bus long exposure")     # dense tracks, best first

A query is taken as plain words: it has no syntax, so no text of a client's can break it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from recsys.items import Items
from recsys.titles import folded

if TYPE_CHECKING:
    import tantivy

FIELDS = {"title": 2.0, "artist": 2.0, "genre": 1.0}  # what a word found there counts
WORDS = 12
_HEAP = 64_000_000
_CLOSE = 0.5  # hits below this share of the best one's score matched only some of the words


@dataclass(frozen=True)
class WordIndex:
    """Built on first use; call `warm()` where that should not fall to a request."""

    items: Items

    def warm(self) -> None:
        _ = self._index

    def search(self, text: str, limit: int = 20) -> list[int]:
        """Dense tracks, best first; empty where nothing matches. One misspelt letter a word is forgiven."""
        words = folded(text).split()[:WORDS]
        if not words:
            return []
        return self._hits(words, limit, fuzzy=False) or self._hits(words, limit, fuzzy=True)

    def _hits(self, words: list[str], limit: int, fuzzy: bool) -> list[int]:
        import tantivy

        index, schema = self._index
        either, close = tantivy.Occur.Should, (tantivy.Query.fuzzy_term_query if fuzzy else None)
        parts = [
            (
                either,
                tantivy.Query.boost_query(
                    close(schema, field, word) if close else tantivy.Query.term_query(schema, field, word),
                    boost,
                ),
            )
            for word in words
            for field, boost in FIELDS.items()
        ]
        searcher = index.searcher()
        hits = searcher.search(tantivy.Query.boolean_query(parts), limit).hits
        kept = [address for score, address in hits if score >= _CLOSE * hits[0][0]]
        return [int(number) for number in searcher.fast_field_values("number", kept) if number is not None]

    @cached_property
    def _index(self) -> tuple[tantivy.Index, tantivy.Schema]:
        import tantivy

        builder = tantivy.SchemaBuilder()
        for field in FIELDS:
            builder.add_text_field(field, tokenizer_name="whitespace")
        schema = builder.add_unsigned_field("number", fast=True).build()
        index = tantivy.Index(schema)
        writer = index.writer(_HEAP, num_threads=1)
        frame = self.items.frame
        columns = (frame["title"], frame["artist_name"], frame["genre"])
        for number, values in enumerate(zip(*columns, strict=True)):
            fields = {f: folded(v or "") for f, v in zip(FIELDS, values, strict=True)}
            writer.add_document(tantivy.Document.from_dict({**fields, "number": number}, schema))
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        return index, schema
