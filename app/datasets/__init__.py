"""Datasets: reading folders and archives of images, the validation report, the split and TFRecord files."""
