"""Open models of others behind the interface of ours: a table of families, and one adapter for all of them."""
