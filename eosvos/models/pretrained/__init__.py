"""Published weights: found, read without executing anything, converted, loaded."""
