"""The worker: pulls jobs, runs the shared batch, stores the pictures.

Two processes: `worker.main` keeps RQ's books and talks to Redis, `worker.engine_process` computes and talks
to nobody but its parent.
"""
