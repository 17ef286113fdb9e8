"""Commands of `sim4seg` that are more than a few lines."""
