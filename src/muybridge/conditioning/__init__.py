"""What is known of a clip, words above all -> the clean streams that the transformer reads."""
