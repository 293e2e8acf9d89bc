"""Videos segmented: frame by frame, from a file, and what is written of the masks."""
