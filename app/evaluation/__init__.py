"""Numbers about a model's answers on images it has not seen, and the replay that measures them as served.

No web, no TensorFlow.
"""
