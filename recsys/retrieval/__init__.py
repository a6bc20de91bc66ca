"""Retrieval that survives filters: eligibility as bitmaps, four ways to search under one, and a planner among them.

layout, bitmaps: which tracks are eligible, as packed bits in the order of the index's lists
eligibility:     those bitmaps for a territory and a time, cached
plans:           the cost table measured at build time, and the plan that follows from it
engine, lists:   the search itself
calibrate:       measures the table
"""
