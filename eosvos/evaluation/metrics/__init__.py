"""Metrics on NumPy and OpenCV. Nothing here may import torch, so that scoring processes start fast."""

from eosvos.evaluation.metrics.region_contour import contour_accuracy as contour_accuracy
from eosvos.evaluation.metrics.region_contour import region_similarity as region_similarity
