"""The HTTP API: `create_app(service)` in app.py; run it with `recsys serve`."""
