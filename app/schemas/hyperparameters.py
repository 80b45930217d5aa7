"""A training's settings under the field's names: what a client may send and what a job resolves them to."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

ImageSize = Annotated[
    int | tuple[int, int],
    Field(description="Height and width in pixels: one number for a square, or [height, width]."),
]


class EarlyStopping(BaseModel):
    """End the training when the validation metric has not improved for a while."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patience: int = Field(
        10, ge=1, le=10_000, description="Validations without an improvement before stopping."
    )
    min_delta: float = Field(0.0, ge=0, description="The least change that counts as an improvement.")


def _early_stopping(value: Any) -> Any:
    """``true`` means the defaults, ``false`` none, a number the patience."""
    if value is True:
        return {}
    if value is False:
        return None
    return {"patience": value} if isinstance(value, int) else value


class Hyperparameters(BaseModel):
    """Every setting of a training run, with its default. A job stores and returns all of them, resolved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(30, ge=1, le=10_000, description="Passes over the train split.")
    batch_size: int = Field(32, ge=1, le=4096, description="Pictures in one training step.")
    image_size: ImageSize | None = Field(
        None, description="Input size in pixels; null takes the network's own."
    )
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop"] = Field("adamw", description="Update rule.")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="Peak learning rate.")
    learning_rate_schedule: Literal["constant", "cosine", "step", "exponential"] = Field(
        "cosine", description="How the rate falls after warm-up."
    )
    warmup_epochs: float = Field(1.0, ge=0, description="Epochs over which the rate rises linearly from 0.")
    decay_epochs: float = Field(10.0, gt=0, description="step, exponential: epochs between two decays.")
    decay_rate: float = Field(0.1, gt=0, le=1, description="step, exponential: factor of one decay.")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd, rmsprop: momentum.")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Decoupled weight decay on kernels.")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Probability mass spread over the other classes."
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Rate before the classifier; null takes the network's own."
    )
    augmentation: Literal["none", "light", "strong"] = Field(
        "light",
        description="light: flip, shift, zoom, brightness and contrast; strong: more of each and cutout.",
    )
    horizontal_flip: bool = Field(True, description="Whether augmentation may mirror pictures left to right.")
    class_weights: Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0)]] = Field(
        "none",
        description="Weight of each class in the loss: none, balanced (inverse frequency), or by class name.",
    )
    validation_freq: int = Field(
        1, ge=1, description="Epochs between two validations; the last epoch is always validated."
    )
    monitor: Literal["valid_accuracy", "valid_loss"] = Field(
        "valid_accuracy",
        description="What decides the best epoch; ties: lower validation loss, then the earlier epoch.",
    )
    early_stopping: Annotated[EarlyStopping | None, BeforeValidator(_early_stopping)] = Field(
        None, description="null trains all epochs; true, a patience, or {patience, min_delta}."
    )
    min_accuracy: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Test accuracy under which no model is saved; null takes the product's gate, or 0.",
    )
    shuffle_buffer: int | None = Field(
        None, ge=1, description="Pictures in the shuffle buffer; null shuffles the whole train split."
    )
    mixed_precision: bool | None = Field(
        None,
        description="Compute in 16 bits, keep weights in 32; null turns it on where the GPU gains from it.",
    )
    deterministic: bool | None = Field(
        None,
        description="Bit-equal results for equal input; null turns it on for CPU, where it costs little.",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="Seed of initial weights, data order, augmentation and split."
    )

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        for side in self.image_sides or ():
            if not 8 <= side <= 2048:
                raise ValueError("image_size must lie between 8 and 2048 pixels")
        return self

    @property
    def image_sides(self) -> tuple[int, int] | None:
        """(height, width) in pixels, or None while it is not resolved."""
        if self.image_size is None:
            return None
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size


Share = Annotated[float, Field(ge=0)]


class SplitSettings(BaseModel):
    """How pictures are divided: three ratios that add up to 1, or three counts of pictures.

    Folders that came already split (train/valid/test) are kept as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: Share = Field(0.7, description="Ratio, or number of pictures.")
    valid: Share = Field(0.15, description="Ratio, or number of pictures.")
    test: Share = Field(0.15, description="Ratio, or number of pictures.")
    seed: int | None = Field(
        None, ge=0, le=2**31 - 1, description="Seed of the draw; null takes the job's seed."
    )

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        shares = (self.train, self.valid, self.test)
        if min(shares) <= 0:
            raise ValueError("train, valid and test must each be greater than 0")
        if not self.is_counts and abs(sum(shares) - 1) > 1e-6:
            raise ValueError(
                f"ratios must add up to 1, these add up to {sum(shares):g}; or give whole numbers as counts"
            )
        return self

    @property
    def is_counts(self) -> bool:
        """Whether the shares are numbers of pictures rather than ratios."""
        return all(share >= 1 and float(share).is_integer() for share in (self.train, self.valid, self.test))
