"""Published weights: reading their files without torch, and moving them into our networks."""
