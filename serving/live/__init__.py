"""Releases that follow the catalog: what is published, changed or withdrawn shows in the next answer."""
