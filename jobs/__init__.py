"""The contract between the API and the workers: what a job is and where it lives in Redis.

Knows redis, rq and pydantic. Knows nothing of HTTP, of torch, or of the other rooms.
"""
