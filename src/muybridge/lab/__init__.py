"""The model in a browser tab: one folder of files that any web server can give out, and a server for this machine."""
