"""The FastAPI app as a factory: `create_app(service)`; no server, no Ray, so that tests call it in-process."""

from __future__ import annotations

from fastapi import FastAPI

from music.catalog.api import router as catalog_router
from music.catalog.edits import edit_router
from music.catalog.service import Catalog
from music.privacy.api import router as privacy_router
from serving.access.gate import CLOSED, Access, Gate
from serving.api import lists, offline, operations, problems, reference, routes
from serving.api.contract import Service
from serving.api.document import DocumentedApp, operation_id
from serving.api.edge import Edge
from serving.api.shed import Shed, limited
from serving.api.spotify import routes as spotify
from serving.api.spotify.errors import SpotifyErrors
from serving.metrics import Measure, Metrics
from serving.page import admin_pages, experiment_pages, list_pages, pages
from serving.privacy.forgetting import Forgetting
from serving.settings import SheddingSettings
from serving.shedding import Admission
from serving.watch.facts import note
from serving.watch.layer import Watch
from serving.watch.watching import Watching

DESCRIPTION = "Home feed, radio, mixes and other lists for listeners; and the events they answer with."


def create_app(
    service: Service,
    hosts: frozenset[str] | None = None,
    access: Access = CLOSED,
    settings: SheddingSettings | None = None,
    watching: Watching | None = None,
    simulated_clock: bool = False,
) -> FastAPI:
    """The whole HTTP surface over one service.

    Args:
        hosts: names that the Host header may carry; None for any (behind a proxy that checks it).
        access: whose keys open writes and records; by default nobody's.
        settings: when recommendations wait, get less, or are refused.
        watching: traces, log lines, and the other replicas; by default this process alone.
        simulated_clock: whether callers may set the time of a request (serving/clock.py).
    """
    metrics = Metrics()
    watching = watching or Watching()
    service.observers.extend([metrics.decided, watching.recent.decided, note])
    app = DocumentedApp(
        title="recsys",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
    )
    app.open_reads = access.settings.open_reads
    problems.install(app)
    app.include_router(routes.router(service, metrics))
    app.include_router(lists.router(service))
    app.include_router(spotify.router(service))
    app.include_router(offline.router(service, metrics))
    app.include_router(catalog_router(service.catalog))
    if isinstance(service.catalog, Catalog):
        app.include_router(edit_router(service.catalog))
    forgetting = getattr(service, "forgetting", None)
    if isinstance(forgetting, Forgetting):
        app.include_router(privacy_router(forgetting.privacy, forgetting.begun))
    app.include_router(operations.router(service, metrics, watching.board))
    app.include_router(reference.router(app))
    app.include_router(pages.router(service))
    app.include_router(list_pages.router(service))
    app.include_router(admin_pages.router(service, watching))
    app.include_router(experiment_pages.router(service))
    app.mount("/static", pages.static_files())
    settings = settings or SheddingSettings()
    app.add_middleware(Shed, paths=limited(app), gate=Admission(settings), admitted=metrics.admitted)
    app.add_middleware(Gate, access=access)
    app.add_middleware(Edge, hosts=hosts, simulated_clock=simulated_clock)
    app.add_middleware(SpotifyErrors)
    app.add_middleware(Measure, metrics=metrics)
    app.add_middleware(Watch, recent=watching.recent, tracing=watching.tracing, requests=watching.requests)
    return app
