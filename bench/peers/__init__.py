"""Other ways to serve the same model, written as a user would, each short and complete."""
