"""Between rows and values: read the configuration, keep the log."""
