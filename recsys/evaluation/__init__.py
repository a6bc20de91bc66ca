"""Offline evaluation: tasks cut by time, full-catalog metrics with intervals, baselines, and true value in
simulation.

tasks = build_tasks(dataset, dataset.split.test, dataset.split.end)   # recsys.evaluation.tasks
rows = evaluate({"popularity": fit(dataset, dataset.split.test)}, tasks)   # recsys.evaluation.evaluate
"""
