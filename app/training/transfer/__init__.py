"""Models that leave for other programs, and models that come from another Loupe."""
