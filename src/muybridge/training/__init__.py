"""Batch to loss to step: one Trainer for every objective, with exact resume."""
