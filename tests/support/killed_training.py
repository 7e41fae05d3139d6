"""A training that kills itself: `killed_training.py FOLDER STEP SAVE`, at a step or within a save (0: never).

Prints a hash of the final weights and the losses of the epochs.
"""

import hashlib
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.data import Source, WordsConfig
from rnnzoo.tasks.tagger.config import TaggerConfig
from rnnzoo.tasks.tagger.model import build_tagger
from rnnzoo.tasks.tagger.task import TaggerTask
from rnnzoo.training import TrainingConfig, fit

MODEL = TaggerConfig(word_size=4, char_filters=0, affix_size=0, conv_units=4, units=4, dropout=0.3, word_dropout=0.1)
TRAINING = TrainingConfig(epochs=3, batch_size=8, learning_rate=0.02, ema=0.9, snapshot_seconds=0.0)


class Killer(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def die_in_save(number):
    count, sync = 0, os.fsync

    def fsync(handle):
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(handle)

    os.fsync = fsync


def main(folder, step, save):
    tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(0)
    rows = [([str(w) for w in rng.choice(list("abc"), n)], ["X"] * n) for n in rng.integers(2, 9, 60)]
    rows = [(words, [w.upper() for w in words[1:]] + ["END"]) for words, _ in rows]
    source = Source("words-tags", {"train": rows[:48], "dev": rows[48:], "test": rows[48:]})
    problem = TaggerTask.from_source(source, WordsConfig(dataset="own", inputs=("words",)))
    keras.utils.set_random_seed(0)
    model = build_tagger(MODEL, problem.encoder)
    if save:
        die_in_save(save)
    history = fit(model, problem, TRAINING, seed=1, run_dir=Path(folder), callbacks=[Killer(step)])
    print(hashlib.sha256(b"".join(np.asarray(v.numpy()).tobytes() for v in model.weights)).hexdigest())
    print(history["loss"], history["accuracy"], history["val_accuracy"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
