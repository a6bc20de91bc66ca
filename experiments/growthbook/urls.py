"""URLs in GrowthBook's rules: a forced variation in the query string, targeting by pattern, redirects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from experiments.conditions import pattern as compiled
from experiments.growthbook.context import Json

_ANY = "_____"


def forced_by(url: str, key: str, variations: int) -> int | None:
    """The variation that `?key=1` asks for; None where it asks for none that exists."""
    for name, value in parse_qsl(urlsplit(url).query):
        if name == key:
            return int(value) if re.fullmatch(r"[0-9]+", value) and int(value) < variations else None
    return None


def targeted(url: str, patterns: Sequence[Json]) -> bool:
    """Whether a URL meets some including pattern (if there is any) and no excluding one."""
    hits = [(p.get("include", True), _meets(url, p)) for p in patterns]
    if not hits or any(hit for include, hit in hits if not include):
        return False
    including = [hit for include, hit in hits if include]
    return any(including) or not including


def redirected(url: str, target: str, keep_query: bool) -> str:
    """Where to go: the target, with the parameters of the URL that it does not set itself."""
    if not keep_query:
        return target
    to = urlsplit(target)
    own = parse_qsl(to.query, keep_blank_values=True)
    names = {name for name, _ in own}
    carried = [p for p in parse_qsl(urlsplit(url).query, keep_blank_values=True) if p[0] not in names]
    return to._replace(query=urlencode(own + carried)).geturl()


def _meets(url: str, pattern: Json) -> bool:
    try:
        actual = urlsplit(url)
    except ValueError:
        return False
    if pattern["type"] == "simple":
        return _simple(actual, pattern["pattern"])
    found = compiled(pattern["pattern"])
    path = actual._replace(scheme="", netloc="").geturl()
    return found is not None and (found.search(url) is not None or found.search(path) is not None)


def _simple(actual: SplitResult, pattern: str) -> bool:
    """Host, path, fragment and named parameters, with `*` for anything."""
    text = re.sub(r"^([^:/?]*)\.", r"https://\1.", pattern).replace("*", _ANY)
    wanted = urlsplit(text if "://" in text else f"https://{_ANY}/{text.lstrip('/')}")
    query = dict(parse_qsl(actual.query))
    parts = [(actual.netloc, wanted.netloc, False), (actual.path, wanted.path or "/", True)]
    if wanted.fragment:
        parts.append((actual.fragment, wanted.fragment, False))
    parts += [(query.get(name, ""), value, False) for name, value in parse_qsl(wanted.query)]
    return all(_part(*part) for part in parts)


def _part(actual: str, wanted: str, is_path: bool) -> bool:
    text = re.escape(wanted.strip("/") if is_path else wanted).replace(_ANY, ".*")
    return re.fullmatch(f"/?{text}/?" if is_path else text, actual, re.IGNORECASE) is not None
