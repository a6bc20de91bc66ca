"""Words from which genres, artists and titles of a simulated catalog are made; nothing here is real."""

from __future__ import annotations

import numpy as np

GENRES: dict[str, tuple[str, ...]] = {
    "pop": (
        "dance-pop",
        "synth-pop",
        "indie-pop",
        "power-pop",
        "art-pop",
        "teen-pop",
        "folk-pop",
        "city-pop",
    ),
    "rock": ("indie", "hard", "garage", "psych", "punk", "post", "classic", "surf"),
    "hip-hop": ("trap", "boom-bap", "drill", "lo-fi", "conscious", "cloud", "crunk", "jazz-rap"),
    "electronic": ("house", "techno", "ambient", "trance", "drum-and-bass", "electro", "downtempo", "garage"),
    "jazz": ("bebop", "swing", "fusion", "cool", "latin", "free", "smooth", "modal"),
    "classical": ("baroque", "romantic", "modern", "choral", "opera", "chamber", "piano", "minimal"),
    "r-and-b": ("soul", "neo-soul", "contemporary", "funk", "disco", "quiet-storm", "new-jack", "gospel"),
    "country": ("bluegrass", "outlaw", "honky-tonk", "alt", "americana", "western", "red-dirt", "pop"),
    "metal": ("heavy", "death", "black", "doom", "thrash", "power", "progressive", "core"),
    "latin": ("reggaeton", "salsa", "bachata", "cumbia", "bossa", "samba", "tango", "ranchera"),
    "folk": ("singer-songwriter", "celtic", "nordic", "traditional", "freak", "protest", "roots", "sea"),
    "world": ("afrobeat", "highlife", "raga", "flamenco", "fado", "klezmer", "gamelan", "dub"),
}
_FIRST = [
    "Amber",
    "Blue",
    "Crimson",
    "Distant",
    "Electric",
    "Faded",
    "Golden",
    "Hollow",
    "Ivory",
    "Jade",
    "Kindred",
    "Lunar",
    "Midnight",
    "Northern",
    "Open",
    "Paper",
    "Quiet",
    "Red",
    "Silver",
    "Tidal",
    "Umber",
    "Velvet",
    "Wild",
    "Young",
]
_SECOND = [
    "Atlas",
    "Birds",
    "Canyon",
    "Drifters",
    "Echo",
    "Foxes",
    "Garden",
    "Harbour",
    "Islands",
    "Junction",
    "Kites",
    "Lanterns",
    "Mirrors",
    "Nomads",
    "Orchard",
    "Parade",
    "Quarter",
    "Rivers",
    "Signals",
    "Towers",
    "Union",
    "Valley",
    "Waves",
    "Youth",
]
_VERB = [
    "Chasing",
    "Leaving",
    "Counting",
    "Finding",
    "Breaking",
    "Holding",
    "Calling",
    "Dreaming",
    "Losing",
    "Waiting",
    "Running",
    "Burning",
    "Falling",
    "Rising",
    "Turning",
    "Carrying",
]
_NOUN = [
    "Stars",
    "Rain",
    "Summer",
    "Shadows",
    "Fire",
    "Home",
    "Time",
    "Light",
    "Water",
    "Winter",
    "Roads",
    "Ghosts",
    "Colours",
    "Silence",
    "Thunder",
    "Gravity",
]
_TAIL = [
    "",
    "Tonight",
    "Again",
    "for You",
    "in the Dark",
    "by the Sea",
    "Without You",
    "at Dawn",
    "Forever",
    "All Night",
    "Somewhere",
    "to the Moon",
    "Down Low",
    "One More Time",
    "like Before",
    "with Me",
]


def artist_names(n: int, rng: np.random.Generator) -> list[str]:
    """n names, unique (a numeral is added where the words run out)."""
    first, second = rng.integers(len(_FIRST), size=n), rng.integers(len(_SECOND), size=n)
    seen: dict[str, int] = {}
    out = []
    for a, b in zip(first, second, strict=True):
        name = f"{_FIRST[a]} {_SECOND[b]}"
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return out


def titles(n: int, rng: np.random.Generator) -> list[str]:
    """n titles of tracks or albums; not unique, as in life."""
    verb, noun, tail = (rng.integers(16, size=n) for _ in range(3))
    return [f"{_VERB[v]} {_NOUN[w]} {_TAIL[t]}".strip() for v, w, t in zip(verb, noun, tail, strict=True)]
