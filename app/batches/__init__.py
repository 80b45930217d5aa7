"""Many images asked at once, as a job: from an archive or a dataset to files of results. No TensorFlow."""
