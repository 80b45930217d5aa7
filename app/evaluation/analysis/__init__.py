"""What follows from an evaluation's files: curves with their areas, and the answers in an order to look at.

It is made when somebody asks, in a process of its own: ``python -m app.evaluation.analysis FOLDER``. So it
is there for evaluations of older releases too.
"""
