"""Video files by PyAV, an extra: pip install 'eosvos[video]'."""
