"""One module per data set or layout of files; each returns sequences."""
