"""The product's domains, one sub-package each; `from music.catalog import Catalog`."""
