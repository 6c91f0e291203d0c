"""Video -> numbers: how well a clip shows what was asked for, and how much of the pixels survives."""
