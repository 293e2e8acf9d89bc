"""Procedural videos with exact masks."""
