"""Image files: which formats are read, bytes to RGB pixels, pixels to the size of a network."""
