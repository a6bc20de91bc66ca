"""One key for all versions of a song: `title_key("Alright (Live)") == title_key("Alright - 2011 Remaster")`.

What is dropped: brackets and dash suffixes that name a version, featured artists, case, accents, punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

VERSION_WORDS = (
    "acoustic|a cappella|acapella|alternate|anniversary|bonus|club|clean|cover|deluxe|demo|dub|edit|edition|"
    "explicit|extended|instrumental|karaoke|live|mix|mono|orchestral|original|radio|re-?edit|re-?issue|"
    "re-?master(?:ed)?|re-?mix(?:ed)?|re-?recorded|rework(?:ed)?|session|sessions|single|sped up|slowed|stereo|"
    "stripped|take|unplugged|version|vip"
)
_VERSION = rf"\b(?:{VERSION_WORDS})\b"
_FEATURED = r"(?:feat|ft|featuring|with)\b\.?"
_BRACKETS = re.compile(rf"[(\[{{](?=[^)\]}}]*{_VERSION})[^)\]}}]*[)\]}}]", re.IGNORECASE)
_GUESTS = re.compile(
    rf"[(\[{{]\s*{_FEATURED}[^)\]}}]*[)\]}}]|\s(?:feat|ft|featuring)\b\.?\s.*$", re.IGNORECASE
)
_SUFFIX = re.compile(rf"\s+[-\u2013\u2014]\s+(?=.*{_VERSION}).*$", re.IGNORECASE)
_REST = re.compile(r"[\W_]+")


@lru_cache(maxsize=1_000_000)
def title_key(title: str | None) -> str:
    """The key of a title; "" where there is none. A title that is nothing but version words is its own key."""
    if not title:
        return ""
    song = _SUFFIX.sub("", _BRACKETS.sub(" ", _GUESTS.sub(" ", title)))
    return folded(song) or folded(title) or title.strip()


def folded(text: str) -> str:
    """Lower case, words parted by single spaces, Latin letters without accents; other scripts keep their marks."""
    text = text.casefold().replace("&", " and ")
    if text.isascii():
        return _REST.sub(" ", text).strip()
    plain = unicodedata.normalize("NFKD", text)
    kept, latin = [], False
    for c in plain:
        if unicodedata.combining(c):
            if latin:
                continue
        else:
            latin = c < "\u0250"
        kept.append(c)
    return _REST.sub(" ", unicodedata.normalize("NFC", "".join(kept))).strip()
