"""Trains a language model with carried states under the backend that KERAS_BACKEND names; run by `test_backends.py`."""

import sys
from pathlib import Path

import keras
import numpy as np

from rnnzoo.data.config import TextConfig
from rnnzoo.data.source import Source
from rnnzoo.tasks.carried import carried_twin, reset_states
from rnnzoo.tasks.generator.config import GeneratorConfig
from rnnzoo.tasks.generator.model import build_generator
from rnnzoo.tasks.generator.task import GeneratorTask
from rnnzoo.training import TrainingConfig, fit

TEXT = "abcde fghij " * 200


def main(folder: Path) -> None:
    config = TextConfig(dataset="text:none", level="characters", window=16)
    splits = {split: [(TEXT, None)] for split in ("train", "dev", "test")}
    problem = GeneratorTask.from_source(Source("text", splits), config)
    keras.utils.set_random_seed(0)
    model = build_generator(GeneratorConfig(units=24, token_size=8, dropout=0.0), problem.encoder)
    training = TrainingConfig(epochs=6, batch_size=4, learning_rate=0.02, ema=0.9)
    history = fit(model, problem, training, seed=0, run_dir=folder / "run")
    # The text repeats itself: nothing is left to guess.
    assert problem.evaluate(model, "test")["nats"] < 0.3, history

    twin, tokens = carried_twin(model, 1), problem.tokens("test")[None, :48]
    whole = np.asarray(model.predict_on_batch({"tokens": tokens}))
    parts = [np.asarray(twin.predict_on_batch({"tokens": tokens[:, i : i + 16]})) for i in (0, 16, 32)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-4)
    reset_states(twin)
    again = np.asarray(twin.predict_on_batch({"tokens": tokens[:, :16]}))
    np.testing.assert_allclose(again, parts[0], rtol=1e-4, atol=1e-4)
    print("carried")

    # A model that does not move is as good on `dev` after each epoch: all of it was read, from its beginning.
    words = " ".join("abcde fghij".split() * 3 + ["jihgf"] * 9) * 3
    problem = GeneratorTask.from_source(Source("text", {**splits, "dev": [(words, None)]}), config)
    still = TrainingConfig(epochs=4, batch_size=4, learning_rate=1e-9, schedule="constant")
    losses = fit(model, problem, still, seed=0, run_dir=folder / "still")["val_loss"]
    twin, found = carried_twin(model, 4), []
    for _, (inputs, targets, _) in problem.batches("dev", 4):
        rows = np.log(keras.ops.convert_to_numpy(keras.ops.softmax(twin.predict_on_batch(inputs))))
        found.append(-np.take_along_axis(rows, targets[..., None].astype(int), axis=-1).mean())
    np.testing.assert_allclose(losses, np.mean(found), rtol=1e-3)
    print("whole")


main(Path(sys.argv[1]))
