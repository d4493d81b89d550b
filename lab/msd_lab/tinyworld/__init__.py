"""A small world whose truth is known: what it holds, its renderer, and classifiers that read its images.

A *judge* is a convolutional classifier trained on true renders of this world only; two
ship. The *probe* is a linear classifier on ImageNet features, which know other images.
"""
