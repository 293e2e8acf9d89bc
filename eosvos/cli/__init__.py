"""From the configuration to the library's objects: the only room that sees the configuration."""
