"""A model's parts outside PyTorch: exported as graphs, and run by whatever engine is fastest on the machine at hand."""
