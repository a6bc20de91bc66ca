"""What was withdrawn while an answer was made: its Selector runs again on what is left.

result = without_withdrawn(pipeline, batch, result, items)     # items: as the catalog is by now
"""

from __future__ import annotations

from dataclasses import replace

from recsys.items import Items
from recsys.pipeline import Pipeline, PipelineFailed, Result
from recsys.types import QueryBatch
from serving.parts.sources import rights


def without_withdrawn(
    pipeline: Pipeline[QueryBatch], batch: QueryBatch, result: Result, items: Items
) -> Result:
    """The same rung's Selector over the candidates that may still be shown; the result itself where all may.

    It runs again whether or not a withdrawn candidate had been drawn, so that propensities are exact.

    Raises:
        PipelineFailed: a request has no candidate left.
    """
    candidates = result.candidates
    keep = rights(items, replace(batch, memo={}))[candidates.owner, candidates.ids]
    if keep.all():
        return result
    left = candidates.where(keep)
    rung = next((rung for rung in pipeline.rungs if rung.name == result.rung), None)
    if rung is None or not left.counts().all():
        raise PipelineFailed("no candidates left for a request")
    counts = result.counts | {"reselect": len(left)}
    return replace(result, slates=rung.selector.select(batch, left), candidates=left, counts=counts)
