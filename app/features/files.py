"""What the files are called: for who moves them about without opening them."""

NETWORK = "efficientnet_lite0"
MODEL, NOTE = f"{NETWORK}.tflite", f"{NETWORK}.json"
"""The extractor: the network without its classifier, and what is said of it."""
VECTORS, HEADER = "features.npy", "features.json"
"""The feature vectors of a dataset, and what is said of them."""
NEAR_GROUPS = "near_groups.json"
"""Which images of a dataset show the same thing."""
EXAMINATION = "examination.json"
"""What else was found."""
EXAMINATION_FILES = (VECTORS, HEADER, NEAR_GROUPS, EXAMINATION)
"""All that an examination leaves beside the manifest; it leaves fewer where there is no extractor."""
