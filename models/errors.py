"""What can go wrong with a model or a sampling request, as one tree.

ModelError
├── ModelNotFound       there is no model where the path points
├── UnsafeWeights       the folder holds only pickled weights
├── CorruptModel        a file of the folder cannot be read or does not fit the others
├── UnsupportedConfig   a config asks for something that is not implemented
├── InvalidSampling     a sampler, step count, eta, spacing, … that cannot be used
├── TrainingError       a training run that cannot start or go on
└── EvaluationError     a model or pictures that cannot be evaluated
"""


class ModelError(Exception):
    """Root of every error raised on purpose in ``models``."""


class ModelNotFound(ModelError):
    """No model folder at the path; the message names the path and what was looked for."""


class UnsafeWeights(ModelError):
    """Only pickled weights are there; they are never opened. The message names the conversion command."""


class CorruptModel(ModelError):
    """A file of the model is unreadable, or the weights do not fit the config."""


class UnsupportedConfig(ModelError):
    """A config key holds a value that is not implemented.

    ``key`` is the name in the JSON file, ``value`` what it holds; the message says what is supported.
    """

    def __init__(self, key: str, value: object, supported: str) -> None:
        super().__init__(f"{key} = {value!r} is not supported: {supported}")
        self.key = key
        self.value = value


class InvalidSampling(ModelError):
    """A sampling parameter cannot be used. ``field`` is the name of the parameter in a request."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TrainingError(ModelError):
    """A training run cannot start or go on: settings, pictures, a checkpoint or the disk. The message says what
    to do."""


class EvaluationError(ModelError):
    """A model, its pictures or the settings cannot be evaluated. The message says what to do."""
