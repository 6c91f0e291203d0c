"""Clips in, batches out. Every source is a pure function of the step: training resumes without a data state."""
