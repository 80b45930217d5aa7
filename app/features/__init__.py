"""Feature vectors of images, by a pretrained network whose classifier is left out.

``Extractor.embed`` turns one image into 1,280 numbers; ``vectors`` keeps those of many as one file. What is
alike in them looks alike to a person: near-duplicates, wrong labels, strangers and a linear classifier all
follow from them.
"""
