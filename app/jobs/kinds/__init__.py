"""One file a kind of job: what its child is told, what it needs, and what its good end means."""
