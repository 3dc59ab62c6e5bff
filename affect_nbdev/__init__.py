"""Affect from faces, and where a network looks: lessons whose code is the package."""

__version__ = "0.0.1"
