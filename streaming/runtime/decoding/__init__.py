"""Decoding in NumPy, over the logits of any model: search, sampling, CTC, Viterbi, events."""

from streaming.runtime.decoding.ctc import CTCBeam, CTCGreedy, Spike, ctc_beam, ctc_greedy
from streaming.runtime.decoding.events import EventRule
from streaming.runtime.decoding.sampling import Sampling, generate, sample
from streaming.runtime.decoding.scores import Hypothesis, log_softmax, sigmoid, softmax
from streaming.runtime.decoding.search import beam_search, beam_searches, greedy
from streaming.runtime.decoding.steps import Decoder, StepFunction
from streaming.runtime.decoding.viterbi import Chain, ViterbiStream, viterbi

__all__ = [
    "CTCBeam",
    "CTCGreedy",
    "Chain",
    "Decoder",
    "EventRule",
    "Hypothesis",
    "Sampling",
    "Spike",
    "StepFunction",
    "ViterbiStream",
    "beam_search",
    "beam_searches",
    "ctc_beam",
    "ctc_greedy",
    "generate",
    "greedy",
    "log_softmax",
    "sample",
    "sigmoid",
    "softmax",
    "viterbi",
]
