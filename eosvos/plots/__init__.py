"""Drawings of results; knows no network."""
