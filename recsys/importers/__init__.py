"""Real listening logs into the lake: CSV, Parquet, Spotify, ListenBrainz, Last.fm (docs/importing.md).

summary = import_logs("spotify", [Path("my_spotify_data.zip")], home, catalog, user="me")
print(summary)
"""

from recsys.importers.run import KINDS, ImportSummary, import_logs

__all__ = ["KINDS", "ImportSummary", "import_logs"]
