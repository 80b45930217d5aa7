"""What stands out in a training: pure functions over what is recorded of it, a module a reason to change."""
