from pathlib import Path

from app.training.logs import EPOCH_LOG, STEP_LOG, StepRecord, TrainingLogs

STEP = StepRecord(
    step=257, epoch=3, loss=0.43121, accuracy=0.875, learning_rate=0.00098123, images_per_second=211.7
)
EPOCH = {
    "epoch": 3,
    "step": 360,
    "train": {"loss": 0.5, "accuracy": 0.75},
    "valid": {"loss": 0.625, "accuracy": 0.8125},
    "best": True,
    "seconds": 12.34,
    "learning_rate": 0.001,
}


def test_lines_say_what_happened(tmp_path: Path) -> None:
    logs = TrainingLogs(tmp_path / "logs", epochs=30, steps_per_epoch=120)
    logs.add_step(STEP)
    logs.add_epoch(EPOCH)
    logs.add_epoch({**EPOCH, "epoch": 4, "valid": None, "best": False})
    logs.close()
    assert (tmp_path / "logs" / STEP_LOG).read_text() == (
        "epoch 3/30, step 17/120, loss 0.4312, accuracy 0.8750, learning rate 0.000981, 212 images/s\n"
    )
    assert (tmp_path / "logs" / EPOCH_LOG).read_text() == (
        "epoch 3/30, train loss 0.5000, train accuracy 0.7500, "
        "valid loss 0.6250, valid accuracy 0.8125, 12.3 s, best\n"
        "epoch 4/30, train loss 0.5000, train accuracy 0.7500, 12.3 s\n"
    )


def test_a_resumed_log_holds_what_the_checkpoint_knows_and_no_line_twice(tmp_path: Path) -> None:
    logs = TrainingLogs(tmp_path, epochs=30, steps_per_epoch=120)
    for _ in range(3):
        logs.add_step(STEP)
    logs.close()
    logs = TrainingLogs(tmp_path, epochs=30, steps_per_epoch=120, past_steps=[STEP], past_epochs=[EPOCH])
    logs.add_step(STEP)
    logs.close()
    assert len((tmp_path / STEP_LOG).read_text().splitlines()) == 2
    assert len((tmp_path / EPOCH_LOG).read_text().splitlines()) == 1
