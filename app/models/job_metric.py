"""The series of a training: one row a step, one row an epoch. Keys make a repeated step overwrite itself."""

from __future__ import annotations

from sqlalchemy import Boolean, Float, ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class JobStep(Base):
    __tablename__ = "job_steps"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(Integer)
    loss: Mapped[float] = mapped_column(Float(53))
    accuracy: Mapped[float] = mapped_column(Float(53))
    learning_rate: Mapped[float] = mapped_column(Float(53))
    images_per_second: Mapped[float | None] = mapped_column(Float(53))


class JobEpoch(Base):
    __tablename__ = "job_epochs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(Integer)
    train_loss: Mapped[float] = mapped_column(Float(53))
    train_accuracy: Mapped[float] = mapped_column(Float(53))
    valid_loss: Mapped[float | None] = mapped_column(Float(53))
    valid_accuracy: Mapped[float | None] = mapped_column(Float(53))
    learning_rate: Mapped[float] = mapped_column(Float(53))
    seconds: Mapped[float] = mapped_column(Float(53))
    is_best: Mapped[bool] = mapped_column(Boolean)
