"""A training on several devices: `parallel_training.py KIND FOLDER DIE`, KIND one, mirrored or multiworker.

Prints the losses of the epochs, and the sum of the sizes of the weights. With DIE, this process kills itself in that
step of the training.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.data import Source, WordsConfig
from rnnzoo.errors import RnnzooError
from rnnzoo.tasks.tagger.config import TaggerConfig
from rnnzoo.tasks.tagger.model import build_tagger
from rnnzoo.tasks.tagger.task import TaggerTask
from rnnzoo.training import TrainingConfig, fit
from rnnzoo.training.parallel import Parallel

MODEL = TaggerConfig(
    word_size=4, char_filters=0, affix_size=0, conv_units=4, units=4, dropout=0, input_dropout=0, word_dropout=0
)
# The norm of the gradient is above the limit, and 45 sentences do not make whole batches of 8.
TRAINING = TrainingConfig(
    epochs=3, batch_size=8, optimizer="sgd", learning_rate=0.5, clip_norm=0.1, snapshot_seconds=0.0
)


class Killer(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(kind, folder, die):
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # One device goes the same way: Keras alone takes the norm of an embedding's gradient before equal rows are summed.
    parallel = Parallel("mirrored" if kind == "one" else kind)
    rng = np.random.default_rng(0)
    rows = [([str(w) for w in rng.choice(list("abc"), n)], ["X"] * n) for n in rng.integers(2, 9, 57)]
    rows = [(words, [w.upper() for w in words[1:]] + ["END"]) for words, _ in rows]
    source = Source("words-tags", {"train": rows[:45], "dev": rows[45:], "test": rows[45:]})
    problem = TaggerTask.from_source(source, WordsConfig(dataset="own", inputs=("words",)))
    keras.utils.set_random_seed(0)
    with parallel.strategy.scope():
        model = build_tagger(dataclasses.replace(MODEL), problem.encoder)
    try:
        history = fit(
            model, problem, TRAINING, seed=1, run_dir=Path(folder), callbacks=[Killer(die)], parallel=parallel
        )
    except RnnzooError as error:
        sys.exit(str(error))
    print(history["loss"])
    print(sum(float(np.abs(np.asarray(v.numpy())).sum()) for v in model.weights))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
