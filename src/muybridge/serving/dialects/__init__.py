"""Wire formats of others, one file each: requests become a `Wish`, a job becomes an answer. Nothing else is here."""
