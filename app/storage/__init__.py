"""Files of one Loupe: the home folder, and the storage that several hosts share."""
