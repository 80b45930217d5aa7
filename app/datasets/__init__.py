"""Datasets: reading folders and archives of pictures, the validation report, the split and TFRecord files."""
