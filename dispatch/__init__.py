"""The dispatcher: takes webhooks from the outbox and brings them to their receivers. Needs Redis and no model."""
