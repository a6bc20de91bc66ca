"""Maximum-inner-product index over track vectors (FAISS); its type is chosen by measured recall at build time.

index = build(item_vectors, user_vectors)       # user_vectors: real queries, held out for measuring
scores, ids = index.search(queries, k=500, allowed=mask)
scores, ids = index.search(queries, k=500, allowed=bitmaps)     # recsys.retrieval: a planner chooses the way
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys.errors import BadInput, ReleaseRefused
from recsys.files import sha256
from recsys.plays import I64
from recsys.retrieval.bitmaps import Bitmaps, Layout
from recsys.retrieval.calibrate import calibrate
from recsys.retrieval.engine import Engine, Retriever
from recsys.retrieval.lists import load_faiss
from recsys.retrieval.plans import Plan

F32: TypeAlias = NDArray[np.float32]

FLAT_UP_TO = 50_000
"""Below this many vectors exact search takes a fraction of a millisecond: nothing else is tried."""
_OVERFETCH = 4
_FORMAT = 1


@dataclass(frozen=True)
class Measured:
    """One kind of index with its parameters, as measured at build time on one thread, one query at a time."""

    kind: str  # flat, ivf, hnsw
    parameters: dict[str, int]
    recall: float  # share of the exact top k found, mean over the held-out queries
    ms: float  # median time of one query
    build_s: float


@dataclass(frozen=True)
class Report:
    """What was tried, and what was chosen: the fastest that reached the target recall."""

    chosen: Measured
    k: int
    target_recall: float
    queries: int
    vectors: int
    dim: int
    tried: list[Measured] = field(default_factory=list)


class Index:
    """n vectors under inner product. A search runs on one thread, so that requests do not fight for cores."""

    def __init__(self, handle: Any, vectors: F32, report: Report, retriever: Retriever | None = None) -> None:
        self._handle, self._vectors, self.report, self._retriever = handle, vectors, report, retriever

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def layout(self) -> Layout | None:
        """How bitmaps for `search` are packed; None in a release from before there was a cost table."""
        return self._retriever.engine.layout if self._retriever else None

    def search(
        self,
        queries: F32,
        k: int,
        allowed: NDArray[np.bool_] | Bitmaps | None = None,
        plans: list[Plan] | None = None,
    ) -> tuple[F32, I64]:
        """The k best allowed vectors of each query, best first: scores and ids (b, k); -inf and -1 pad.

        `allowed` is a mask (n,) or (b, n), or bitmaps (b rows) in the index's own layout. Under a mask a filter
        costs no recall: where the index's own list, cut by the filter, is too short, the query is answered
        exactly over the allowed vectors. Under bitmaps the planner chooses, and `plans` gets what it chose.

        Raises:
            BadInput: queries or mask of the wrong shape.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        self._check(queries, allowed)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids = np.full((len(queries), k), -1, np.int64)
        if not len(queries) or not len(self):
            return scores, ids
        if isinstance(allowed, Bitmaps):
            self._planned(queries, k, allowed, scores, ids, plans)
        elif allowed is None:
            top = min(k, len(self))
            scores[:, :top], ids[:, :top] = _search(self._handle, self.report.chosen, queries, top)
        else:
            masks = np.broadcast_to(allowed, (len(queries), len(self)))
            for row, mask in enumerate(masks):
                best, found = self._filtered(queries[row : row + 1], k, mask)
                scores[row, : len(found)], ids[row, : len(found)] = best, found
        scores[ids < 0] = -np.inf
        return scores, ids

    def _planned(
        self, queries: F32, k: int, allowed: Bitmaps, scores: F32, ids: I64, plans: list[Plan] | None
    ) -> None:
        """Fills scores and ids."""
        if self._retriever is None:
            raise BadInput("this index has no cost table: give a mask, or build it again")
        for row, words in enumerate(allowed.rows):
            best, found, plan = self._retriever.search(queries[row], k, words)
            scores[row, : len(found)], ids[row, : len(found)] = best, found
            if plans is not None:
                plans.append(plan)

    def save(self, folder: Path) -> None:
        """vectors.npy, index.faiss, the planner's files, and report.json with the choice, figures and digests."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "vectors.npy", self._vectors)
        load_faiss().write_index(self._handle, str(folder / "index.faiss"))
        names = ["vectors.npy", "index.faiss", *(self._retriever.save(folder) if self._retriever else [])]
        digests = {name: sha256(folder / name) for name in names}
        body = {"format": _FORMAT, "report": asdict(self.report), "sha256": digests}
        (folder / "report.json").write_text(json.dumps(body, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Raises ReleaseRefused where a file is missing, damaged, swapped or of another version."""
        try:
            body = json.loads((folder / "report.json").read_text())
            whole = all(sha256(folder / name) == digest for name, digest in body["sha256"].items())
            if body["format"] != _FORMAT or not whole:
                raise ReleaseRefused(f"index in {folder} is damaged: build it again or roll back")
            told = body["report"]
            tried = [Measured(**one) for one in told.pop("tried")]
            report = Report(chosen=Measured(**told.pop("chosen")), tried=tried, **told)
            vectors = np.load(folder / "vectors.npy", allow_pickle=False)
            handle = load_faiss().read_index(str(folder / "index.faiss"))
            retriever = Retriever.load(folder, vectors) if "costs.json" in body["sha256"] else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ReleaseRefused(f"index in {folder} cannot be read: build it again or roll back") from error
        return cls(handle, vectors, report, retriever)

    def _check(self, queries: F32, allowed: NDArray[np.bool_] | Bitmaps | None) -> None:
        if queries.ndim != 2 or queries.shape[1] != self._vectors.shape[1]:
            raise BadInput(f"queries must be (b, {self._vectors.shape[1]}), not {queries.shape}")
        if isinstance(allowed, Bitmaps):
            if len(allowed) != len(queries) or len(allowed.layout) != len(self):
                raise BadInput(f"bitmaps must be {len(queries)} rows over {len(self)} tracks")
        elif allowed is not None and allowed.shape not in {(len(self),), (len(queries), len(self))}:
            raise BadInput(f"allowed must be ({len(self)},) or (b, {len(self)}), not {allowed.shape}")

    def _filtered(self, query: F32, k: int, mask: NDArray[np.bool_]) -> tuple[F32, I64]:
        eligible = int(mask.sum())
        k = min(k, eligible)
        if self.report.chosen.kind != "flat" and eligible * _OVERFETCH > len(self):
            top = min(int(1.2 * k * len(self) / max(eligible, 1)) + 16, len(self))
            scores, ids = _search(self._handle, self.report.chosen, query, top)
            kept = (ids[0] >= 0) & mask[ids[0]]
            if kept.sum() >= k:
                return scores[0][kept][:k], ids[0][kept][:k]
        subset = np.flatnonzero(mask)
        return _exact(self._vectors[subset] @ query[0], subset, k)


def build(
    vectors: F32,
    queries: F32,
    target_recall: float = 0.98,
    k: int = 100,
    seed: int = 0,
    flat_up_to: int = FLAT_UP_TO,
) -> Index:
    """Tries exact search and, above `flat_up_to` vectors, settings of IVF and HNSW (Malkov & Yashunin 2018).

    Every try is measured against exact search on `queries` (q, d); the fastest that reaches `target_recall`
    at `k` is kept, with the table of all. The planner's cost table is measured on the same queries.

    Raises:
        BadInput: no vectors, no queries, non-finite values, or shapes that do not match.
    """
    vectors, queries = (np.ascontiguousarray(x, np.float32) for x in (vectors, queries))
    if vectors.ndim != 2 or queries.ndim != 2 or vectors.shape[1:] != queries.shape[1:] or not len(vectors):
        raise BadInput(f"vectors {vectors.shape} and queries {queries.shape} must be (n, d) and (q, d)")
    if not len(queries) or not (np.isfinite(vectors).all() and np.isfinite(queries).all()):
        raise BadInput("an index needs finite vectors and at least one query to measure its recall on")
    k = min(k, len(vectors))
    exact, flat = _flat(vectors, queries, k)
    best, best_handle, tried = flat, exact, [flat]
    if len(vectors) > flat_up_to:
        truth = _search(exact, flat, queries, k)[1]
        for handle, kind, parameters, build_s in _attempts(vectors, seed):
            measured = _measure(handle, kind, parameters, build_s, queries, truth)
            tried.append(measured)
            if measured.recall >= target_recall and measured.ms < best.ms:
                best, best_handle = measured, handle
    report = Report(best, k, target_recall, len(queries), len(vectors), vectors.shape[1], tried)
    engine = Engine.build(vectors, len(vectors) > flat_up_to, seed)
    return Index(best_handle, vectors, report, Retriever(engine, calibrate(engine, queries, seed=seed)))


def _flat(vectors: F32, queries: F32, k: int) -> tuple[Any, Measured]:
    began = time.perf_counter()
    handle = load_faiss().IndexFlatIP(vectors.shape[1])
    handle.add(vectors)
    build_s = time.perf_counter() - began
    plain = Measured("flat", {}, 1.0, 0.0, build_s)
    return handle, Measured("flat", {}, 1.0, _latency(handle, plain, queries, k), build_s)


def _attempts(vectors: F32, seed: int) -> Iterator[tuple[Any, str, dict[str, int], float]]:
    """Indices to measure; settings of one structure share it, and are set again at search time."""
    dim = vectors.shape[1]
    lists = int(2 ** np.round(np.log2(np.sqrt(len(vectors)) * 2)))
    began = time.perf_counter()
    ivf = load_faiss().IndexIVFFlat(
        load_faiss().IndexFlatIP(dim), dim, lists, load_faiss().METRIC_INNER_PRODUCT
    )
    ivf.cp.seed = seed + 1
    ivf.train(vectors)
    ivf.add(vectors)
    build_s = time.perf_counter() - began
    for nprobe in (8, 16, 32, 64, 128):
        yield ivf, "ivf", {"nlist": lists, "nprobe": min(nprobe, lists)}, build_s
    began = time.perf_counter()
    hnsw = load_faiss().IndexHNSWFlat(dim, 32, load_faiss().METRIC_INNER_PRODUCT)
    hnsw.hnsw.efConstruction = 100
    hnsw.add(vectors)
    build_s = time.perf_counter() - began
    for ef in (64, 128, 256, 512):
        yield hnsw, "hnsw", {"m": 32, "ef": ef}, build_s


def _measure(
    handle: Any, kind: str, parameters: dict[str, int], build_s: float, queries: F32, truth: I64
) -> Measured:
    plain = Measured(kind, parameters, 0.0, 0.0, build_s)
    k = truth.shape[1]
    found = _search(handle, plain, queries, k)[1]
    recall = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(found, truth, strict=True)])
    return Measured(kind, parameters, float(recall), _latency(handle, plain, queries, k), build_s)


def _latency(handle: Any, how: Measured, queries: F32, k: int) -> float:
    """Median ms of one query at a time, over up to 64 of them."""
    times = []
    for row in range(min(len(queries), 64)):
        began = time.perf_counter()
        _search(handle, how, queries[row : row + 1], k)
        times.append(time.perf_counter() - began)
    return float(np.median(times) * 1000)


def _search(handle: Any, how: Measured, queries: F32, k: int) -> tuple[F32, I64]:
    load_faiss().omp_set_num_threads(1)
    if how.kind == "ivf":
        settings = load_faiss().SearchParametersIVF(nprobe=how.parameters["nprobe"])
    elif how.kind == "hnsw":
        settings = load_faiss().SearchParametersHNSW(efSearch=max(how.parameters["ef"], k))
    else:
        settings = None
    scores, ids = handle.search(queries, k, params=settings)
    return scores, ids


def _exact(scores: F32, ids: I64, k: int) -> tuple[F32, I64]:
    """The k best of some scored ids, best first, ties by id."""
    if k < len(scores):
        part = np.argpartition(-scores, k - 1)[:k] if k else np.zeros(0, np.int64)
        scores, ids = scores[part], ids[part]
    order = np.lexsort((ids, -scores))
    return scores[order], ids[order]
