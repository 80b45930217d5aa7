"""Numbers about a model's answers on pictures it has not seen. No web, no TensorFlow."""
