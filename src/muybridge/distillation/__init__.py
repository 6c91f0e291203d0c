"""Teacher -> student: fewer steps, no guidance, causal, smaller. Objectives for the one Trainer, and pruning."""
