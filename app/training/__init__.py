"""Keras in, artifact out: one training run, from a dataset to a proved model (``python -m app.training``)."""
