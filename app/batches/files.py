"""The files that a prediction over many images leaves."""

RESULTS, TABLE, SKIPPED = "results.jsonl", "results.csv", "skipped.jsonl"
FINISHED = "predictions"
"""The folder, in the child's own, that they are in."""
