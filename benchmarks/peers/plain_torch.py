"""The tagger, the spotter and the translator of the zoo in PyTorch, and a loop that trains them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Arrays = Mapping[str, np.ndarray]
Batch = tuple[Arrays, np.ndarray, np.ndarray]


def word_dropout(ids: torch.Tensor, rate: float) -> torch.Tensor:
    """Ids that become the unknown one, 1, at this rate; padding stays."""
    return torch.where((torch.rand(ids.shape) < rate) & (ids != 0), torch.ones_like(ids), ids)


class DroppedLSTM(nn.Module):
    """An LSTM with recurrent dropout, which `nn.LSTM` lacks: each gate reads the state through a mask of its own."""

    def __init__(self, inputs: int, units: int, rate: float):
        super().__init__()
        self.project, self.rate = nn.Linear(inputs, 4 * units), rate
        self.recurrent = nn.Parameter(torch.empty(4, units, units))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        batch, units = len(x), self.recurrent.shape[1]
        z = self.project(x).reshape(*x.shape[:2], 4, units).permute(1, 2, 0, 3).unbind()
        h, c, outputs = x.new_zeros(batch, units), x.new_zeros(batch, units), []
        mask = functional.dropout(x.new_ones(4, batch, units), self.rate, self.training)
        for here in z:
            i, f, g, o = torch.baddbmm(here, h * mask, self.recurrent).unbind()
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1), None


class Tagger(nn.Module):
    """As `build_tagger`."""

    def __init__(self, config: Any, encoder: Any):
        super().__init__()
        self.config = config
        self.words = nn.Embedding(len(encoder.words), config.word_size, padding_idx=0)
        self.chars = nn.Embedding(len(encoder.chars), config.char_size, padding_idx=0)
        self.affixes = nn.Embedding(len(encoder.affixes), config.affix_size, padding_idx=0)
        self.characters = nn.ModuleList(
            nn.Conv1d(config.char_size, config.char_filters, width) for width in config.char_widths
        )
        width = config.word_size + config.char_filters * len(config.char_widths) + 8 * config.affix_size
        self.neighbours = nn.Conv1d(width, config.conv_units, config.context + 1 + config.lookahead)
        if config.recurrent_dropout:
            self.lstm: nn.Module = DroppedLSTM(config.conv_units, config.units, config.recurrent_dropout)
        else:
            self.lstm = nn.LSTM(config.conv_units, config.units, batch_first=True)
            # Keras has one bias.
            self.lstm.bias_hh_l0.requires_grad_(False).zero_()
        self.logits = nn.Linear(config.units, len(encoder.labels))

    def forward(self, words: torch.Tensor, chars: torch.Tensor, affixes: torch.Tensor) -> torch.Tensor:
        config, drop = self.config, functional.dropout
        batch, steps = words.shape
        if self.training:
            words, affixes = word_dropout(words, config.word_dropout), word_dropout(affixes, config.affix_dropout)
        letters = self.chars(chars).flatten(0, 1).transpose(1, 2)
        parts = []
        for layer, width in zip(self.characters, config.char_widths, strict=True):
            convolved = layer(functional.pad(letters, ((width - 1) // 2, width // 2)))
            parts.append(convolved.relu().amax(2).reshape(batch, steps, -1))
        x = torch.cat([self.words(words), *parts, self.affixes(affixes).flatten(2)], -1)
        x = drop(x, config.input_dropout, self.training).transpose(1, 2)
        x = self.neighbours(functional.pad(x, (config.context, config.lookahead))).relu().transpose(1, 2)
        x = drop(x, config.dropout, self.training)
        return self.logits(x + drop(self.lstm(x)[0], config.dropout, self.training))

    def after_step(self) -> None:
        """Padding, which is zeros, stays zeros."""
        for layer in self.characters:
            layer.bias.clamp_(max=0)

    def load(self, weights: Arrays) -> None:
        """The weights of the zoo's model, by their names there."""
        tables = {"word": self.words, "char": self.chars, "affix": self.affixes}
        for name, table in tables.items():
            put(table.weight, weights[f"{name}_embedding/embeddings"])
            put(table.weight[0], np.zeros(table.embedding_dim, np.float32))
        thresholds = np.split(weights["char_cnn/thresholds"], len(self.characters))
        for layer, width, part in zip(self.characters, self.config.char_widths, thresholds, strict=True):
            put(layer.weight, weights[f"char_cnn/kernel_{width}"].transpose(2, 1, 0))
            put(layer.bias, -part)
        taps = self.neighbours.kernel_size[0]
        kernel = weights["neighbours/kernel"]
        put(self.neighbours.weight, kernel.reshape(taps, -1, kernel.shape[1]).transpose(2, 1, 0))
        put(self.neighbours.bias, weights["neighbours/bias"])
        cell = "recurrent_0/lstm_cell"
        kernel, recurrent, bias = (weights[f"{cell}/{name}"] for name in ("kernel", "recurrent_kernel", "bias"))
        if isinstance(self.lstm, DroppedLSTM):
            put(self.lstm.project.weight, kernel.T)
            put(self.lstm.project.bias, bias)
            put(self.lstm.recurrent, np.stack(np.split(recurrent, 4, axis=1)))
        else:
            put(self.lstm.weight_ih_l0, kernel.T)
            put(self.lstm.weight_hh_l0, recurrent.T)
            put(self.lstm.bias_ih_l0, bias)
        dense(self.logits, weights, "logits")


class Spotter(nn.Module):
    """As `build_keyword_spotter`, its states carried from batch to batch until `reset`."""

    def __init__(self, config: Any, encoder: Any):
        super().__init__()
        self.config, self.states = config, None
        self.register_buffer("mean", torch.tensor(np.asarray(encoder.mean, np.float32)))
        self.register_buffer("scale", torch.tensor(np.asarray(encoder.scale, np.float32)))
        self.conv = nn.Conv1d(encoder.definition.num_mels, config.conv_units, config.conv_width)
        sizes = [config.conv_units, *[config.units] * config.layers]
        self.layers = nn.ModuleList(nn.GRU(n, config.units, batch_first=True) for n in sizes[:-1])
        self.logits = nn.Linear(config.units, len(encoder.labels))

    def reset(self) -> None:
        """The next batch begins a new stream."""
        self.states = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = ((features - self.mean) / self.scale).transpose(1, 2)
        x = self.conv(functional.pad(x, (self.config.conv_width - 1, 0))).relu().transpose(1, 2)
        x, states = functional.dropout(x, self.config.dropout, self.training), []
        for layer, state in zip(self.layers, self.states or [None] * len(self.layers), strict=True):
            x, last = layer(x, state)
            states.append(last.detach())
            x = functional.dropout(x, self.config.dropout, self.training)
        self.states = states
        return self.logits(x)

    def after_step(self) -> None:
        """Nothing."""

    def load(self, weights: Arrays) -> None:
        """The weights of the zoo's model, by their names there."""
        put(self.conv.weight, weights["conv/kernel"].transpose(2, 1, 0))
        put(self.conv.bias, weights["conv/bias"])
        for i, layer in enumerate(self.layers):
            gru(layer, weights, f"recurrent_{i}/gru_cell")
        dense(self.logits, weights, "logits")


class Translator(nn.Module):
    """As `build_translator` with attention by Luong, one layer of GRU."""

    def __init__(self, config: Any, encoder: Any):
        super().__init__()
        self.config, size, units = config, config.token_size, config.units
        self.source = nn.Embedding(len(encoder.source), size)
        self.target = nn.Embedding(len(encoder.target), size)
        self.bias = nn.Parameter(torch.zeros(len(encoder.target)))
        self.encoder = nn.GRU(size, units // 2, batch_first=True, bidirectional=True)
        self.state, self.decoder = nn.Linear(units, units), nn.GRU(size, units, batch_first=True)
        self.keys, self.readout = nn.Linear(units, units, bias=False), nn.Linear(2 * units, size)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        def drop(x: torch.Tensor) -> torch.Tensor:
            return functional.dropout(x, self.config.dropout, self.training)

        there, steps = source != 0, source.shape[1]
        packed = pack_padded_sequence(drop(self.source(source)), there.sum(1), batch_first=True, enforce_sorted=False)
        memory, last = self.encoder(packed)
        memory = drop(pad_packed_sequence(memory, batch_first=True, total_length=steps)[0])
        state = self.state(torch.cat([last[0], last[1]], -1)).tanh()
        y = drop(self.decoder(drop(self.target(target)), state[None])[0])
        scores = y @ self.keys(memory).transpose(1, 2)
        context = scores.masked_fill(~there[:, None], -1e9).softmax(-1) @ memory
        y = drop(self.readout(torch.cat([y, context], -1)).tanh())
        return y @ self.target.weight.T + self.bias

    def after_step(self) -> None:
        """Nothing."""

    def load(self, weights: Arrays) -> None:
        """The weights of the zoo's model, by their names there."""
        put(self.source.weight, weights["source_embedding/embeddings"])
        put(self.target.weight, weights["target_embedding/embeddings"])
        put(self.bias, weights["target_embedding/bias"])
        for direction, suffix in (("forward", ""), ("backward", "_reverse")):
            gru(self.encoder, weights, f"both_encoder_0/{direction}_encoder_0/gru_cell", suffix)
        gru(self.decoder, weights, "decoder_0/gru_cell")
        dense(self.state, weights, "state_0")
        dense(self.readout, weights, "readout")
        put(self.keys.weight, weights["attention/keys/kernel"].T)


NETWORKS = {"tagger": Tagger, "keyword_spotter": Spotter, "translator": Translator}


def put(parameter: torch.Tensor, value: np.ndarray) -> None:
    """Copy an array of the same shape."""
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.array(value)))


def dense(layer: nn.Linear, weights: Arrays, name: str) -> None:
    """Weights of a dense layer."""
    put(layer.weight, weights[f"{name}/kernel"].T)
    put(layer.bias, weights[f"{name}/bias"])


def gru(layer: nn.GRU, weights: Arrays, name: str, suffix: str = "") -> None:
    """Weights of a GRU: PyTorch has the gates of reset, update and candidate in this order."""

    def ordered(value: np.ndarray) -> np.ndarray:
        update, reset, candidate = np.split(value, 3, axis=-1)
        return np.concatenate([reset, update, candidate], axis=-1)

    put(getattr(layer, f"weight_ih_l0{suffix}"), ordered(weights[f"{name}/kernel"]).T)
    put(getattr(layer, f"weight_hh_l0{suffix}"), ordered(weights[f"{name}/recurrent_kernel"]).T)
    first, second = ordered(weights[f"{name}/bias"])
    put(getattr(layer, f"bias_ih_l0{suffix}"), first)
    put(getattr(layer, f"bias_hh_l0{suffix}"), second)


def tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Arrays by name as tensors."""
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def loss_of(logits: torch.Tensor, targets: np.ndarray, weights: np.ndarray, smoothing: float) -> torch.Tensor:
    """Cross-entropy with label smoothing; as in Keras, the mean counts what weighs nothing too."""
    flat, numbers = logits.flatten(0, 1), torch.from_numpy(targets).flatten().long()
    values = functional.cross_entropy(flat, numbers, reduction="none", label_smoothing=smoothing)
    return (values * torch.from_numpy(weights).flatten()).mean()


def train(
    network: Any,
    passes: Sequence[Sequence[Batch]],
    dev: Sequence[Batch],
    rates: Sequence[float],
    config: Any,
    fresh: int,
) -> tuple[float, float, float, float]:
    """Adam with clipping and averaged weights, and figures on dev by these after each epoch, as `rnnzoo train` does.

    Args:
        network: of `NETWORKS`.
        passes: the batches of each epoch.
        dev: batches.
        rates: the rate of each step.
        config: the `training` section.
        fresh: batches after which carried states begin anew; 0: there are none.

    Returns:
        Seconds from the second batch on without the first of dev, seconds of these, loss and accuracy on dev.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, rates[0], betas=(0.9, config.beta_2), eps=1e-7, fused=True)
    averages, step, begin, start, skipped = None, 0, time.perf_counter(), 0.0, 0.0
    for batches in passes:
        network.train()
        for number, (inputs, targets, weights) in enumerate(batches):
            if fresh and number % fresh == 0:
                network.reset()
            optimizer.param_groups[0]["lr"] = rates[step]
            optimizer.zero_grad()
            loss = loss_of(network(**tensors(inputs)), targets, weights, config.label_smoothing)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            optimizer.step()
            loss.item()
            with torch.no_grad():
                network.after_step()
                if averages is None:
                    averages = [parameter.clone() for parameter in parameters]
                else:
                    torch._foreach_lerp_(averages, parameters, 1 - config.ema)
            step += 1
            start = start or time.perf_counter()
        swap(parameters, averages)
        loss, accuracy, first = evaluate(network, dev, config.label_smoothing, fresh)
        swap(parameters, averages)
        skipped = skipped or first
    end = time.perf_counter()
    return end - start - skipped, start - begin + skipped, loss, accuracy


@torch.no_grad()
def swap(parameters: Sequence[torch.Tensor], averages: Sequence[torch.Tensor]) -> None:
    """Exchange the weights and their averages."""
    for parameter, average in zip(parameters, averages, strict=True):
        kept = parameter.clone()
        parameter.copy_(average)
        average.copy_(kept)


@torch.no_grad()
def evaluate(network: Any, dev: Sequence[Batch], smoothing: float, fresh: int) -> tuple[float, float, float]:
    """Loss and accuracy on dev, and the seconds of its first batch."""
    network.eval()
    losses, right, first, begin = [], [], 0.0, time.perf_counter()
    for number, (inputs, targets, weights) in enumerate(dev):
        if fresh and number % fresh == 0:
            network.reset()
        logits = network(**tensors(inputs))
        losses.append((len(targets) * loss_of(logits, targets, weights, smoothing).item(), len(targets)))
        hits = logits.argmax(-1).numpy() == targets
        right.append(((hits * weights).sum(), weights.sum()))
        first = first or time.perf_counter() - begin
    if fresh:
        network.reset()
    loss, accuracy = (sum(a for a, _ in pairs) / sum(b for _, b in pairs) for pairs in (losses, right))
    return float(loss), float(accuracy), first
