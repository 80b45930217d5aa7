"""Answers from packaged models: the predictor and the cache of loaded models.

No TensorFlow: LiteRT runs the artifact's ``model.tflite``.
"""
