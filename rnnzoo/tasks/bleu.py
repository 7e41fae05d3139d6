"""BLEU, by sacreBLEU."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def bleu(written: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool = False) -> tuple[float, str]:
    """BLEU-4 of a corpus, 13a tokens (Post 2018, A Call for Clarity in Reporting BLEU Scores).

    Args:
        written: a text for each example.
        references: one or more for each.
        lowercase: score lower-cased texts.

    Returns:
        The score, 0 to 100, and sacreBLEU's signature.
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(lowercase=lowercase)
    # Examples with fewer references than others leave gaps.
    rows = [list(row) for row in itertools.zip_longest(*references)]
    score = metric.corpus_score(list(written), rows)
    return float(score.score), str(metric.get_signature())
