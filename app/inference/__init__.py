"""Answers from packaged models: the predictor, the cache of loaded models, and the turns of images.

No TensorFlow: LiteRT runs the artifact's ``model.tflite``.
"""
