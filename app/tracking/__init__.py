"""Trainings for an experiment tracker of others, by a child process that has its library."""
