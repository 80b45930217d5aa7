"""What the files are called: for who moves them about without opening them."""

NETWORK = "efficientnet_lite0"
MODEL, NOTE = f"{NETWORK}.tflite", f"{NETWORK}.json"
"""The extractor: the network without its classifier, and what is said of it."""
VECTORS, HEADER = "features.npy", "features.json"
"""The feature vectors of a dataset, and what is said of them."""
