"""What the replay of the final test leaves is read as it was written."""

from __future__ import annotations

from pathlib import Path

from app.training.verify import read_items


def test_classes_that_are_called_as_columns_are_do_not_hide_them(tmp_path: Path) -> None:
    table = tmp_path / "predictions.csv"
    table.write_text("item,name,label,predicted,item,label\nimg_1,a/1.png,item,item,0.75,0.25\n")
    assert read_items(table) == ("img_1",)
