"""What the verbs of the command line do: options -> rooms -> files and lines of text."""
