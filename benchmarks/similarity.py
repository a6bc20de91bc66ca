"""Similar artists and tracks on real data, against co-occurrence and ALS; one command a table, resumes.

    python -m benchmarks.similarity [hetrec-artists thirtymusic-tracks thirtymusic-artists] --data ../shared/data

Settings of each method are chosen on validation, its rows, tests and pages are those of `benchmarks.models`.
"""

from __future__ import annotations

from benchmarks.models import run_tables
from benchmarks.similar_items import ARTISTS
from benchmarks.similarity_tables import SIMILARITY

if __name__ == "__main__":
    run_tables(SIMILARITY, ARTISTS, __doc__ or "", default=tuple(SIMILARITY))
