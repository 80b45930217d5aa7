"""The worker's side of a job: claim it, store its progress, finish it, and clean up after it."""
