"""What the files are called: for who moves them about without opening them."""

NETWORK = "efficientnet_lite0"
MODEL, NOTE = f"{NETWORK}.tflite", f"{NETWORK}.json"
"""The extractor: the network without its classifier, and what is said of it."""
VECTORS, HEADER = "features.npy", "features.json"
"""The feature vectors of a dataset, and what is said of them."""
FINDINGS = "examination.json"
"""What was found by them."""
EXAMINATION_FILES = (VECTORS, HEADER, FINDINGS)
"""All that an examination leaves beside the manifest; the last says that the others are there."""
