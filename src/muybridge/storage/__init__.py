"""Frames, stills, weights and settings in memory -> files on disk, and back. The only room that touches disk or hub."""
