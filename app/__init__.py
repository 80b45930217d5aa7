"""Loupe trains, proves and serves image classifiers, one per product."""

__version__ = "0.2.0"
