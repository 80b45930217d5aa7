"""Dividing each batch among several GPUs of this machine, which keep equal weights (MirroredStrategy)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import tensorflow as tf


class Replicas:
    """``devices`` as TensorFlow names them; one or none: nothing is divided and no strategy is in the way."""

    def __init__(self, devices: Sequence[str] = ()) -> None:
        self.count = max(1, len(devices))
        self._strategy = tf.distribute.MirroredStrategy(list(devices)) if self.count > 1 else None

    def scope(self) -> AbstractContextManager[Any]:
        """Variables that are made within exist on every device."""
        return nullcontext() if self._strategy is None else self._strategy.scope()

    def run(self, function: Callable[..., Any], batch: Sequence[Any], *shared: Any) -> Any:
        """The sum over the devices of ``function(*part of the batch, *shared)``; call it in a tf.function.

        The parts differ in size by one at most. A batch must have an image for every device: BatchNorm has
        no statistics of none.
        """
        if self._strategy is None:
            return function(*batch, *shared)
        items = tf.shape(batch[0])[0]

        def run_on_part() -> Any:
            place = tf.distribute.get_replica_context().replica_id_in_sync_group
            start, end = items * place // self.count, items * (place + 1) // self.count
            return function(*(value[start:end] for value in batch), *shared)

        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, self._strategy.run(run_on_part), axis=None)

    def average(self, variables: Sequence[Any]) -> None:
        """Makes each variable the mean of what the devices have; call it inside ``run``.

        Keras leaves BatchNorm's moving statistics as each device saw them: what is saved and served would be
        those of the first device alone, and what is validated a mixture.
        """
        if self._strategy is not None and variables:
            own = [tf.convert_to_tensor(variable) for variable in variables]
            means = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, own)
            for variable, mean in zip(variables, means, strict=True):
                variable.assign(mean)

    def share_overflow(self, gradients: Sequence[Any]) -> list[Any]:
        """Gradients that are not finite on one device become so on all; call it inside ``run``.

        Keras's loss scaling skips a step by what the first device got, before the gradients are added up.
        """
        first, *others = gradients
        if self._strategy is not None:
            # Zero times infinity is not a number, and zero times anything else is zero.
            own = tf.add_n([tf.reduce_sum(tf.cast(gradient, tf.float32) * 0.0) for gradient in gradients])
            every = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)
            first += tf.cast(every, first.dtype)
        return [first, *others]
