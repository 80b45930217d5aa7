"""The names of what an evaluation leaves in its folder, without the code that needs seconds to load."""

EVALUATION, PREDICTIONS, PROBABILITIES, REPORT = FILES = (
    "evaluation.json",
    "predictions.csv",
    "probabilities.npy",
    "test_result.log",
)
