"""The mathematics of rectified flow: paths, schedules, solvers, guidance.

Tensors go in, tensors come out: no module, no file, no device, no random number that the caller did not draw.
Time runs from t = 0 (data) to t = 1 (noise). A *level* is the time of one element: a tensor whose shape is the
first dimensions of what it belongs to, so that (b, t) gives every frame of a (b, t, c, h, w) latent its own noise.
"""
