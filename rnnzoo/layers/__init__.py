"""Keras layers that train as usual and say how they stream."""

from rnnzoo.layers.characters import CharCNN
from rnnzoo.layers.checking import Check, LayerCheckError, check
from rnnzoo.layers.embedding import PaddedEmbedding
from rnnzoo.layers.lookahead import LookaheadConv

__all__ = ["CharCNN", "Check", "LayerCheckError", "LookaheadConv", "PaddedEmbedding", "check"]
