"""Masks in files of every form."""
