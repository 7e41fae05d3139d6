"""Under which terms each data set is, and whose work it is: cards and the manifest repeat it."""

from __future__ import annotations

from typing import NamedTuple

from rnnzoo.errors import DataError


class Terms(NamedTuple):
    """What a data set is called, its licence, whom to cite, and its address."""

    title: str
    licence: str
    citation: str
    url: str


# By the name in a configuration, or its beginning.
_TERMS = {
    "universal_dependencies/en_ewt": Terms(
        "Universal Dependencies English Web Treebank, release 2.10",
        "CC BY-SA 4.0",
        "Silveira et al. (2014), A Gold Standard Dependency Corpus for English, LREC",
        "https://github.com/UniversalDependencies/UD_English-EWT",
    ),
    "wnut17": Terms(
        "WNUT 2017, emerging entities",
        "CC BY 4.0",
        "Derczynski et al. (2017), Results of the WNUT2017 Shared Task on Novel and Emerging Entity Recognition, W-NUT",
        "https://github.com/leondz/emerging_entities_17",
    ),
    "clinc_oos": Terms(
        "CLINC150 with out-of-scope queries",
        "CC BY 3.0",
        "Larson et al. (2019), An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction, EMNLP",
        "https://github.com/clinc/oos-eval",
    ),
    "goemotions": Terms(
        "GoEmotions",
        "CC BY 4.0",
        "Demszky et al. (2020), GoEmotions: A Dataset of Fine-Grained Emotions, ACL",
        "https://github.com/google-research/google-research/tree/master/goemotions",
    ),
    "uci_sentiment": Terms(
        "Sentiment Labelled Sentences",
        "CC BY 4.0",
        "Kotzias et al. (2015), From Group to Individual Labels Using Deep Features, KDD",
        "https://archive.ics.uci.edu/dataset/331",
    ),
    "japanese_vowels": Terms(
        "Japanese Vowels",
        "CC BY 4.0",
        "Kudo, Toyama and Shimbo (1999), Multidimensional Curve Classification Using Passing-Through Regions, "
        "Pattern Recognition Letters 20",
        "https://archive.ics.uci.edu/dataset/128/japanese+vowels",
    ),
    "spoken_digit": Terms(
        "Free Spoken Digit Dataset",
        "CC BY-SA 4.0",
        "Jackson et al. (2018)",
        "https://github.com/Jakobovski/free-spoken-digit-dataset",
    ),
    "multi30k": Terms(
        "Multi30k",
        "research and education only, not commercial (the terms of Flickr30K)",
        "Elliott et al. (2016), Multi30K: Multilingual English-German Image Descriptions, VL",
        "https://github.com/multi30k/dataset",
    ),
    "tatoeba_pairs": Terms(
        "Tatoeba sentence pairs", "CC BY 2.0", "tatoeba.org, by way of manythings.org/anki", "https://tatoeba.org"
    ),
    "scan": Terms(
        "SCAN",
        "BSD",
        "Lake and Baroni (2018), Generalization without Systematicity, ICML",
        "https://github.com/brendenlake/SCAN",
    ),
    "nlvr_captions": Terms(
        "NLVR, its true sentences as captions",
        "CC BY 4.0",
        "Suhr et al. (2017), A Corpus of Natural Language for Visual Reasoning, ACL",
        "https://github.com/lil-lab/nlvr",
    ),
    "noto_emoji_captions": Terms(
        "Noto Emoji with their Unicode names",
        "Apache 2.0 (pictures), Unicode licence (names)",
        "Google, Noto Emoji; Unicode, CLDR",
        "https://github.com/googlefonts/noto-emoji",
    ),
    "coco_cc_photos": Terms(
        "Photographs of COCO 2017 under free licences",
        "CC BY and CC BY-SA, by photograph",
        "Lin et al. (2014), Microsoft COCO: Common Objects in Context, ECCV",
        "https://cocodataset.org",
    ),
    "tiny_shakespeare": Terms(
        "Tiny Shakespeare", "public domain", "Karpathy (2015), char-rnn", "https://github.com/karpathy/char-rnn"
    ),
    "etth1": Terms(
        "ETTh1, electricity transformer temperature",
        "CC BY-ND 4.0",
        "Zhou et al. (2021), Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting, AAAI",
        "https://github.com/zhouhaoyi/ETDataset",
    ),
    "nab_known_cause": Terms(
        "Numenta Anomaly Benchmark, known causes",
        "MIT",
        "Ahmad et al. (2017), Unsupervised Real-Time Anomaly Detection for Streaming Data, Neurocomputing 262",
        "https://github.com/numenta/NAB",
    ),
    "jsb_chorales": Terms(
        "Chorales of J. S. Bach",
        "none stated (the music is in the public domain)",
        "Boulanger-Lewandowski et al. (2012), Modeling Temporal Dependencies in High-Dimensional Sequences, ICML",
        "https://github.com/czhuang/JSB-Chorales-dataset",
    ),
    "mitdb100": Terms(
        "MIT-BIH Arrhythmia Database, record 100",
        "ODC-BY 1.0",
        "Moody and Mark (2001), The Impact of the MIT-BIH Arrhythmia Database, IEEE Eng. in Med. and Biol. 20",
        "https://physionet.org/content/mitdb",
    ),
}


def terms_of(dataset: str) -> Terms:
    """The terms of the data set that a configuration names.

    Raises:
        DataError: they are not known here: a model made from it cannot be published.
    """
    found = next((terms for name, terms in _TERMS.items() if dataset.startswith(name)), None)
    if found is None:
        raise DataError(f"the terms of {dataset!r} are not known; add them to {__name__} before you publish a model")
    return found
