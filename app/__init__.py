"""Loupe trains, proves and serves image classifiers, one per product."""

__version__ = "0.1.0"
