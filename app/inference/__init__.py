"""Answers from packaged models: predictor, model cache, and the replay that measures a model as it is served.

No TensorFlow: LiteRT runs the artifact's ``model.tflite``.
"""
