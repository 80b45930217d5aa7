"""Worker processes: Celery delivers job ids, a supervisor runs each job in a child process of its own."""
