"""The page to look at (`GET /`): pages.py renders templates/, static/ holds its style and script."""
