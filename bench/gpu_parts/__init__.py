"""The parts of `bench.gpu`: each a module with `run(notes, setup)`, whose every finding is kept as it is made."""
