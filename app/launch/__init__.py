"""Starting Loupe: the API, the embedded Redis, and the whole service as one tree of processes."""
