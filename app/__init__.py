"""The HTTP front end: FastAPI over the job contract in `jobs`. Holds no model and loads no torch."""
