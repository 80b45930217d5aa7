"""What a training will take and how well it may do, said before it starts."""
