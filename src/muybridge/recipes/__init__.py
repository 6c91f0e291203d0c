"""Named frozen configs: every number of the project."""
