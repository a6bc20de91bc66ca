"""Plots as SVG text that follows the page's style sheet, in light and dark; the same data give the same bytes."""
