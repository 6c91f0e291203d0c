"""HTTP <-> engine: one queue of durable jobs, an API of our own, and those that other people's clients speak."""
