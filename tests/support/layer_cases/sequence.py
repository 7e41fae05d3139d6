"""Layers over whole sequences: attention, chains, pools, embeddings, word encoders, features, softmaxes."""

import keras
import numpy as np

from layer_cases import OPTION, Case
from layer_cases.cells import gru, sigmoid
from rnnzoo.layers import (
    CRF,
    AdaptiveSoftmax,
    AttentionCell,
    AttentionDecoder,
    AttentionPooling,
    BahdanauAttention,
    Bidirectional,
    CharCNN,
    CharRNN,
    Latch,
    LogMel,
    LogMelFrontEnd,
    LookaheadConv,
    LuongAttention,
    PaddedEmbedding,
    SampledSoftmax,
    StoryMemory,
    TiedEmbedding,
    TransformerBlock,
    TransformerDecoderBlock,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@keras.saving.register_keras_serializable(package="tests")
class OnBoth(keras.layers.Layer):
    """Gives a layer of two arguments its pair of inputs."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, shapes):
        if not self.layer.built:
            self.layer.build(*shapes)

    def call(self, pair, training=False):
        return self.layer(*pair)

    def get_config(self):
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


def named(w, end):
    """The weight of that path, or of that name where no other has it."""
    found = [value for name, value in w.items() if name.endswith(end)] or [w[end.split("/")[-1]]]
    if len(found) != 1:
        raise KeyError(f"{end} among {sorted(w)}")
    return found[0]


def bahdanau(w, pair):
    query, memory = pair
    keys = [v for n, v in w.items() if n.endswith("kernel") and "query" not in n and "score" not in n]
    (keys,) = keys
    rows = []
    for t in range(query.shape[1]):
        hidden = (query[:, t] @ w["query_kernel"])[:, None] + memory @ keys
        a = softmax((np.tanh(hidden) @ w["score_kernel"])[..., 0])
        rows.append(np.einsum("bs,bsd->bd", a, memory))
    return np.stack(rows, axis=1)


def luong(w, pair, window=None, predictive=False, scores=None):
    query, memory = pair
    length, rows = memory.shape[1], []
    for t in range(query.shape[1]):
        e = scores(w, query[:, t], memory) if scores else np.einsum("bd,bsd->bs", query[:, t], memory @ w["kernel"])
        factor = 1.0
        if window:
            centre = np.full((len(query), 1), float(t))
            if predictive:
                centre = length * sigmoid(np.tanh(query[:, t] @ w["position_kernel"]) @ w["position_score"])
            distance = np.arange(length) - centre
            e = np.where(abs(distance) <= window, e, -np.inf)
            # Where the window is past the end of the source, there is nothing to attend to.
            empty = ~np.isfinite(e).any(-1, keepdims=True)
            e = np.where(empty, 0.0, e)
            factor = np.where(empty, 0.0, np.exp(-(distance**2) / (2 * (window / 2) ** 2)) if predictive else 1.0)
        rows.append(np.einsum("bs,bsd->bd", softmax(e) * factor, memory))
    return np.stack(rows, axis=1)


def latest(w, ids):
    """The number of the last id from 6 on, by a loop over each row; 2 clears."""
    rows = []
    for row in ids:
        held = [0]
        for number in row:
            held.append(number - 5 if number >= 6 else 0 if number == 2 else held[-1])
        rows.append(held[1:])
    return np.array(rows)


def dot(w, query, memory):
    return np.einsum("bd,bsd->bs", query, memory)


def concat(w, query, memory):
    return (np.tanh((query @ w["query_kernel"])[:, None] + memory @ w["kernel"]) @ w["score_kernel"])[..., 0]


def decoder_before(w, pair):
    x, memory = pair
    cell = {name: named(w, f"gru_cell/{name}") for name in ("kernel", "recurrent_kernel", "bias")}
    keys, h, rows = named(w, "keys/kernel"), np.zeros((len(x), 4)), []
    for t in range(x.shape[1]):
        hidden = (h @ named(w, "query_kernel"))[:, None] + memory @ keys
        context = np.einsum("bs,bsd->bd", softmax((np.tanh(hidden) @ named(w, "score_kernel"))[..., 0]), memory)
        h, _ = gru(cell, np.concatenate([x[:, t], context], -1), [h])
        rows.append(np.concatenate([h, context], -1))
    return np.stack(rows, axis=1)


def decoder_after(w, pair):
    x, memory = pair
    cell = {name: named(w, f"gru_cell/{name}") for name in ("kernel", "recurrent_kernel", "bias")}
    keys, h, y, rows = named(w, "keys/kernel"), np.zeros((len(x), 4)), np.zeros((len(x), 4)), []
    for t in range(x.shape[1]):
        h, _ = gru(cell, np.concatenate([x[:, t], y], -1), [h])
        context = np.einsum("bs,bsd->bd", softmax(np.einsum("bd,bsd->bs", h, memory @ keys)), memory)
        y = np.tanh(np.concatenate([context, h], -1) @ named(w, "output_kernel"))
        rows.append(y)
    return np.stack(rows, axis=1)


def pooling(w, x):
    e = np.tanh(x @ named(w, "hidden/kernel") + named(w, "bias")) @ named(w, "score/kernel")
    a = np.exp(e - e.max(1, keepdims=True))
    return (a * x).sum(1) / a.sum(1)


def embedded(w, ids):
    return w["embeddings"][ids] * (ids != 0)[..., None]


def char_cnn(w, x):
    chars = x.reshape(*x.shape[:2], -1, 3)
    padded = np.pad(chars, [(0, 0), (0, 0), (1, 1), (0, 0)])
    windows = np.stack([padded[:, :, k : k + chars.shape[2]] for k in range(3)], axis=-2)
    found = np.einsum("btcke,kef->btcf", windows, w["kernel_3"]).max(2)
    return np.maximum(found - w["thresholds"], 0)


def char_rnn(w, x):
    chars = x.reshape(-1, x.shape[2] // 3, 3)
    ends = []
    for name, line in (("ahead", chars), ("back", chars[:, ::-1])):
        weights = {key: named(w, f"{name}/gru_cell/{key}") for key in ("kernel", "recurrent_kernel", "bias")}
        h = np.zeros((len(chars), 4))
        for c in range(line.shape[1]):
            new, _ = gru(weights, line[:, c], [h])
            h = np.where(np.any(line[:, c] != 0, -1, keepdims=True), new, h)
        ends.append(h)
    return np.concatenate(ends, -1).reshape(*x.shape[:2], 8)


def story(w, ids):
    """Word by word: a sentence so far is asked of the statements that ended before the word."""
    weights = {key: named(w, f"gru/gru_cell/{key}") for key in ("kernel", "recurrent_kernel", "bias")}
    answers = np.zeros((*ids.shape, 4))
    for row, line in zip(answers, ids, strict=True):
        memories, h, words = [], np.zeros((1, 4)), []
        for t, word in enumerate(line):
            if word:
                words = [*([] if words and words[-1] in (2, 3) else words), word]
            places = np.minimum(np.arange(len(words)), len(w["places"]) - 1)
            q = (w["embeddings"][words] * w["places"][places]).sum(axis=0) if words else np.zeros(4)
            u, held = q @ w["question_kernel"], memories[-3:]
            for k in range(2):
                part, o = slice(4 * k, 4 * k + 4), np.zeros(4)
                if held:
                    keys = [m @ w["key_kernel"][:, part] + w["ages"][k, len(held) - 1 - n] for n, m in enumerate(held)]
                    a = softmax(np.array(keys) @ u / 2)
                    o = a @ (np.array(held) @ w["value_kernel"][:, part])
                u = u + np.maximum(np.concatenate([u, o, u * o]) @ w[f"mix_kernel_{k}"] + w["mix_biases"][k], 0)
            row[t] = u
            if word == 2:
                h, _ = gru(weights, q[None], [h])
                memories.append(np.concatenate([q, h[0]]))
    return answers


def both_ways(w, x):
    runs = []
    for name, line in (("forward_gru", x), ("backward_gru", x[:, ::-1])):
        weights = {key: named(w, f"{name}/gru_cell/{key}") for key in ("kernel", "recurrent_kernel", "bias")}
        h, rows = np.zeros((len(x), 4)), []
        for t in range(x.shape[1]):
            h, _ = gru(weights, line[:, t], [h])
            rows.append(h)
        runs.append(np.stack(rows, axis=1))
    return np.concatenate([runs[0], runs[1][:, ::-1]], -1)


def lookahead(w, x):
    padded = np.pad(x, [(0, 0), (1, 2), (0, 0)])
    windows = np.concatenate([padded[:, k : k + x.shape[1]] for k in range(4)], -1)
    return windows @ w["kernel"] + w["bias"]


def transformer(w, x, window=3, heads=2, ahead=0, source=None):
    def norm(v, name):
        centred = v - v.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
        return scaled * named(w, f"{name}/gamma") + named(w, f"{name}/beta")

    z = x @ w["input_kernel"] if "input_kernel" in w else x
    units = z.shape[-1]
    q, k, v = np.split(norm(z, "outer_norm") @ w["attention_kernel"], 3, axis=-1)
    found = np.zeros_like(z)
    for b, t, h in np.ndindex(*z.shape[:2], heads):
        near = np.arange(max(0, t - window + 1), min(t + ahead, z.shape[1] - 1) + 1)
        part = slice(h * units // heads, (h + 1) * units // heads)
        scores = k[b, near, part] @ q[b, t, part] / np.sqrt(units / heads) + w["distance_bias"][h, t - near + ahead]
        found[b, t, part] = softmax(scores) @ v[b, near, part]
    u = z + found @ w["output_kernel"]
    if source is not None:
        q, (m, n) = norm(u, "source_norm") @ w["query_kernel"], np.split(source, 2, axis=-1)
        for b, t, h in np.ndindex(*z.shape[:2], heads):
            part = slice(h * units // heads, (h + 1) * units // heads)
            found[b, t, part] = softmax(m[b, :, part] @ q[b, t, part] / np.sqrt(units / heads)) @ n[b, :, part]
        u = u + found @ w["looked_kernel"]
    hidden = np.maximum(norm(u, "inner_norm") @ w["hidden_kernel"] + w["hidden_bias"], 0)
    return u + hidden @ w["last_kernel"] + w["last_bias"]


SMALL_MEL = {
    "sample_rate": 1000,
    "frame_length": 16,
    "frame_step": 5,
    "fft_length": 32,
    "num_mels": 6,
    "high_hz": 500.0,
}


def log_mel(w, x):
    """By the definition, frame by frame, with the Fourier sum and the triangles written out."""
    rate, length, step, size, bands, low, high = 1000, 16, 5, 32, 6, 20.0, 500.0
    mel = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + high / 700), bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.arange(size // 2 + 1) * rate / size
    frames = []
    for start in range(0, x.shape[1] - length + 1, step):
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        energy = abs(np.fft.rfft(x[:, start : start + length, 0] * window, size)) ** 2
        row = []
        for a, b, c in zip(edges, edges[1:], edges[2:], strict=False):
            weight = np.clip(np.minimum((bins - a) / (b - a), (c - bins) / (c - b)), 0, None)
            row.append(energy @ weight)
        frames.append(np.log(np.maximum(np.stack(row, -1), 1e-6)))
    return np.stack(frames, axis=1)


def full_softmax(w, x):
    return np.log(softmax(x @ w["kernel"].T + w["bias"]))


def adaptive(w, x):
    head = np.log(softmax(x @ w["head"]))
    parts = [head[..., :3]]
    for i in range(2):
        parts.append(head[..., 3 + i : 4 + i] + np.log(softmax(x @ w[f"down_{i}"] @ w[f"up_{i}"])))
    return np.concatenate(parts, -1)


# Words 4 to 8 in sentences that end with 2 or 3, and padding (0) between them.
STORIES = np.array([[4, 5, 2, 6, 2, 0, 7, 8, 4, 5, 6, 3, 0, 0], [5, 3, 4, 2, 2, 6, 5, 2, 8, 2, 7, 7, 0, 3]], "int32")
IDS = np.random.default_rng(0).integers(0, 9, (3, 7)).astype("int32")
PAIR = {"inputs": [normal(3, 7, 5), normal(3, 4, 5, seed=1)], "skip": {"chunked": "by encode"}}
LETTERS = normal(3, 7, 12) * np.repeat(np.random.default_rng(2).random((3, 7, 4)) < 0.7, 3, axis=-1)


def pair(layer, oracle, properties=None, proves=()):
    return Case(lambda: OnBoth(layer()), oracle, properties, PAIR, proves=proves)


def decoding(attention, attend):
    return lambda: AttentionDecoder(AttentionCell(keras.layers.GRUCell(4, name="gru_cell"), attention(), attend=attend))


CASES = {
    "bahdanau": pair(lambda: BahdanauAttention(6), bahdanau, proves=(BahdanauAttention,)),
    "luong-general": pair(LuongAttention, luong, proves=(LuongAttention,)),
    "luong-dot": pair(lambda: LuongAttention("dot"), lambda w, p: luong(w, p, scores=dot), OPTION),
    "luong-concat": pair(lambda: LuongAttention("concat", 6), lambda w, p: luong(w, p, scores=concat), OPTION),
    "luong-local-m": pair(lambda: LuongAttention(window=2), lambda w, p: luong(w, p, 2), OPTION),
    "luong-local-p": pair(lambda: LuongAttention(window=2, predictive=True), lambda w, p: luong(w, p, 2, True), OPTION),
    "decoder-before": pair(
        decoding(lambda: BahdanauAttention(6), "before"), decoder_before, proves=(AttentionCell, AttentionDecoder)
    ),
    "decoder-after": pair(decoding(LuongAttention, "after"), decoder_after, OPTION),
    "crf": Case(lambda: CRF(("O", "B-X", "I-X", "B-Y", "I-Y")), lambda w, x: x),
    "bidirectional": Case(
        lambda: Bidirectional(keras.layers.GRU(4, return_sequences=True, name="gru")),
        both_ways,
        settings={"streams": False},
    ),
    "attention-pooling": Case(lambda: AttentionPooling(6), pooling),
    "padded-embedding": Case(lambda: PaddedEmbedding(9, 4), embedded, settings={"inputs": IDS}),
    "story-memory": Case(lambda: StoryMemory(9, 4, 2, 3, 3, 3, 2), story, settings={"inputs": STORIES}),
    "tied-embedding": Case(lambda: TiedEmbedding(9, 4), embedded, settings={"inputs": IDS}),
    "latch": Case(lambda: Latch(6, 2), latest, settings={"inputs": IDS}),
    "lookahead": Case(lambda: LookaheadConv(4, lookahead=2, context=1), lookahead),
    "transformer": Case(lambda: TransformerBlock(4, 2, 3, 2), transformer),
    "transformer-projected": Case(lambda: TransformerBlock(6, 2, 3, 2), transformer, OPTION),
    "transformer-both-ways": Case(
        lambda: TransformerBlock(4, 2, 3, 2, causal=False),
        lambda w, x: transformer(w, x, ahead=2),
        (*OPTION, "mask", "streaming"),
        {"streams": False},
    ),
    "transformer-decoder": Case(
        lambda: OnBoth(TransformerDecoderBlock(4, 2, 3, 2)),
        lambda w, pair: transformer(w, pair[0], source=pair[1]),
        None,
        {**PAIR, "inputs": [normal(3, 7, 5), normal(3, 4, 8, seed=1)]},
        (TransformerDecoderBlock,),
    ),
    # A padded character is where a derivative does not exist.
    "char-cnn": Case(lambda: CharCNN(3, 4), char_cnn, settings={"inputs": normal(3, 7, 12)}),
    "char-cnn-padded": Case(lambda: CharCNN(3, 4), char_cnn, ("oracle", "streaming"), {"inputs": LETTERS}),
    "char-rnn": Case(lambda: CharRNN(3, 4), char_rnn, settings={"inputs": normal(3, 7, 12)}),
    "char-rnn-padded": Case(lambda: CharRNN(3, 4), char_rnn, ("oracle", "streaming"), {"inputs": LETTERS}),
    "logmel": Case(
        lambda: LogMel(1000, 16, 5, 32, 6),
        log_mel,
        settings={"inputs": normal(2, 61, 1), "tolerance": 1e-4, "skip": {"mixed_precision": "energies need float32"}},
    ),
    "logmel-front-end": Case(
        lambda: LogMelFrontEnd(SMALL_MEL),
        lambda w, x: log_mel(w, np.pad(x.reshape(len(x), -1, 1), [(0, 0), (11, 0), (0, 0)])),
        settings={"inputs": normal(2, 12, 5), "tolerance": 1e-4, "skip": {"mixed_precision": "energies need float32"}},
    ),
    "sampled-softmax": Case(lambda: SampledSoftmax(11, 4), full_softmax),
    "adaptive-softmax": Case(lambda: AdaptiveSoftmax(11, (3, 7), factor=2), adaptive),
}
