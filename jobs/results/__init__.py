"""Where the pictures of finished jobs lie: Redis, a folder, or a bucket of an S3-compatible store."""
