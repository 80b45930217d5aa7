"""A training's settings under the field's names: what a client may send and what a job resolves them to."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from app.schemas.numbers import MOST, Numbers, refuse_truth_value

# Checked as one setting below, so that the message names both sides; the document shows the range here.
Side = Annotated[
    int, Field(json_schema_extra={"minimum": 8, "maximum": 2048}), BeforeValidator(refuse_truth_value)
]
ImageSize = Annotated[
    Side | tuple[Side, Side],
    Field(description="Height and width in pixels: one number for a square, or [height, width]."),
]


LINEAR_SETTINGS = frozenset(
    {
        *("method", "pretrained", "image_size", "resize", "class_weights", "monitor", "min_accuracy", "seed"),
        *("deterministic", "mixed_precision"),
    }
)
"""The settings that the method linear uses."""

Pretrained = Annotated[str, Field(pattern=r"^(imagenet|none|mdl_[0-9a-z]+)$")]


class EarlyStopping(Numbers):
    """End the training when the validation metric has not improved for a while."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    patience: int = Field(
        10, ge=1, le=10_000, description="Validations without an improvement before stopping."
    )
    min_delta: float = Field(
        0.0, ge=0, le=1_000_000, description="The least change that counts as an improvement."
    )


def _early_stopping(value: Any) -> Any:
    """``true`` means the defaults, ``false`` none, a number the patience."""
    if value is True:
        return {}
    if value is False:
        return None
    return {"patience": value} if isinstance(value, int) else value


ClassWeight = Annotated[float, Field(ge=0.000_001, le=1_000_000), BeforeValidator(refuse_truth_value)]


class Hyperparameters(Numbers):
    """Every setting of a training run, with its default. A job stores and returns all of them, resolved.

    Where the default is null, the best value depends on the network, the number of images, or the weights
    that training starts from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["fine_tune", "linear"] = Field(
        "fine_tune",
        description="fine_tune: all layers learn, by gradient descent, from `pretrained`. linear: the "
        "classifier alone, on what frozen weights say of each image, which takes seconds. It uses only the "
        "settings pretrained, image_size, resize, class_weights, monitor, min_accuracy and seed.",
    )
    pretrained: Pretrained | None = Field(
        None,
        description="Weights to start from: imagenet, none, or the id of a model of the same product and "
        "network; null takes imagenet where those weights are on the server, else none.",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Passes over the train split; null decides by the number of images.",
    )
    freeze_epochs: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="Epochs at the start in which only the new classifier learns; null decides by the start.",
    )
    batch_size: int = Field(32, ge=1, le=4096, description="Images in one training step.")
    image_size: ImageSize | None = Field(
        None, description="Input size in pixels; null takes the network's own."
    )
    resize: Literal["stretch", "crop", "letterbox"] = Field(
        "stretch",
        description="How an image becomes that size. stretch: the whole image, its shape changed; crop: the "
        "largest part of the right shape, from the middle; letterbox: the whole image in its own shape, with "
        "grey beside it.",
    )
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop"] = Field("adamw", description="Update rule.")
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="Peak learning rate, of the classifier; null decides by the start."
    )
    backbone_learning_rate_factor: float | None = Field(
        None,
        gt=0,
        le=1,
        description="The backbone's learning rate as a part of the classifier's; null decides by the start.",
    )
    batch_norm: Literal["updated", "frozen"] | None = Field(
        None,
        description="Whether BatchNorm takes the statistics of each batch and updates its own, or keeps and "
        "uses those of the weights it started from; null decides by the start.",
    )
    learning_rate_schedule: Literal["constant", "cosine", "step", "exponential"] = Field(
        "cosine", description="How the rate falls after warm-up."
    )
    warmup_epochs: float = Field(
        1.0,
        ge=0,
        le=10_000,
        description="Epochs over which the rate rises linearly from 0, at most half of the epochs with a "
        "frozen backbone and half of those after them. A job shows the longest that it uses.",
    )
    decay_epochs: float = Field(
        10.0, ge=0.001, le=10_000, description="step, exponential: epochs between two decays."
    )
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
    horizontal_flip: bool = Field(True, description="Whether augmentation may mirror images left to right.")
    class_weights: Literal["none", "balanced"] | dict[str, ClassWeight] = Field(
        "none",
        description="Weight of each class in the loss: none, balanced (inverse frequency), or by class name.",
    )
    validation_freq: int = Field(
        1, ge=1, le=MOST, description="Epochs between two validations; the last epoch is always validated."
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
        description="Least test accuracy, as gate.min_accuracy; null takes the product's gate, or 0.",
    )
    shuffle_buffer: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="Images in the shuffle buffer; null shuffles the whole train split.",
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
        0, ge=0, le=MOST, description="Seed of initial weights, data order, augmentation and split."
    )

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        for side in self.image_sides or ():
            if not 8 <= side <= 2048:
                raise ValueError("image_size must lie between 8 and 2048 pixels")
        return self

    @model_validator(mode="after")
    def _check_freezing(self) -> Self:
        if self.epochs and self.freeze_epochs and self.freeze_epochs > self.epochs:
            raise ValueError(f"freeze_epochs is {self.freeze_epochs}, more than the {self.epochs} epochs")
        if self.pretrained == "none" and (self.freeze_epochs or self.batch_norm == "frozen"):
            raise ValueError("freeze_epochs and batch_norm frozen need pretrained weights")
        return self

    @property
    def image_sides(self) -> tuple[int, int] | None:
        """(height, width) in pixels, or None while it is not resolved."""
        if self.image_size is None:
            return None
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size


class ResolvedHyperparameters(Hyperparameters):
    """The settings with a value for each default that depends on something; see app/training/defaults.py."""

    pretrained: Pretrained
    epochs: int
    freeze_epochs: int
    image_size: ImageSize
    learning_rate: float
    backbone_learning_rate_factor: float
    batch_norm: Literal["updated", "frozen"]
    dropout: float

    @property
    def image_sides(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else size


Share = Annotated[float, Field(ge=0, le=MOST)]


class SplitSettings(Numbers):
    """How images are divided: three ratios that add up to 1, or three counts of images.

    Folders that came already split (train/valid/test) are kept as they are. A test of 0 is for a training
    that is tested on another dataset.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    train: Share = Field(0.7, description="Ratio, or number of images.")
    valid: Share = Field(0.15, description="Ratio, or number of images.")
    test: Share = Field(
        0.15,
        description="Ratio, or number of images. 0 only with an `evaluation_dataset`; a ratio of train that "
        "is not given is then what valid leaves.",
    )
    seed: int | None = Field(None, ge=0, le=MOST, description="Seed of the draw; null takes the job's seed.")
    ignore_groups: bool = Field(
        False, description="Whether images of one group may be drawn into different splits."
    )

    @model_validator(mode="before")
    @classmethod
    def _give_train_the_rest(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("test") != 0 or "train" in value:
            return value
        valid = value.get("valid", cls.model_fields["valid"].default)
        is_ratio = isinstance(valid, int | float) and 0 < valid < 1
        return {**value, "train": 1 - valid} if is_ratio else value

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        shares = (self.train, self.valid, self.test)
        if min(self.train, self.valid) <= 0:
            raise ValueError("train and valid must each be greater than 0")
        if not self.is_counts and abs(sum(shares) - 1) > 1e-6:
            raise ValueError(
                f"ratios must add up to 1, these add up to {sum(shares):g}; or give whole numbers as counts"
            )
        return self

    @property
    def is_counts(self) -> bool:
        """Whether the shares are numbers of images rather than ratios."""
        shares = (self.train, self.valid, self.test or 1)
        return all(share >= 1 and float(share).is_integer() for share in shares)
