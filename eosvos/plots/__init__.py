"""Plots of results; nothing here knows the networks."""
