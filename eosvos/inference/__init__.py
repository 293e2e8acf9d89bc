"""Segmentation of videos, frame by frame or whole, and export of the masks."""
