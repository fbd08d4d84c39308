"""RQ's side of the worker: many jobs at once in one process, with RQ's own books kept true.

The only part of the worker that imports rq.
"""
