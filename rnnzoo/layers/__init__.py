"""Keras layers that train as usual and say how they stream."""

from rnnzoo.layers.embedding import CharCNN, PaddedEmbedding, WordDropout
from rnnzoo.layers.lookahead import LookaheadConv

__all__ = ["CharCNN", "LookaheadConv", "PaddedEmbedding", "WordDropout"]
