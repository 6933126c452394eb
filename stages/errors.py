"""Every exception that Fabula raises on purpose.

::

    FabulaError
    ├── ConfigError              a setting, a path or a command line is wrong: the user mends it
    ├── ArtifactError            something under the store is not as its record says
    │   ├── NotSealed            it is not finished: run the stage that makes it
    │   ├── Corrupt              bytes differ from their recorded hash
    │   └── SchemaMismatch       it was written by another version, or by another encoder
    ├── SampleError              one input is unusable: it becomes a Failure row and the run goes on
    │   ├── DecodeError
    │   ├── EmptyTimeline
    │   ├── BadTranscript
    │   └── DeadlineExceeded
    └── TransientError           may pass: the unit is retried, then left open

Anything else that escapes a worker is a bug: the run stops and keeps what is committed. A message says what,
where, got, expected, and what to do. `models` knows none of these and raises ValueError; a verb translates.
"""


class FabulaError(Exception):
    """Base of all errors that are reported without a traceback."""


class ConfigError(FabulaError):
    """A setting, a path or an argument is wrong."""


class ArtifactError(FabulaError):
    """An artifact cannot be used."""


class NotSealed(ArtifactError):
    """An artifact that is needed is not finished."""


class Corrupt(ArtifactError):
    """Bytes on disk differ from what their commit record says."""


class SchemaMismatch(ArtifactError):
    """An artifact was written by another schema version, or for another encoder."""


class SampleError(FabulaError):
    """One input cannot be used; `cause` is the machine-readable reason of its Failure row."""

    cause = "unusable"


class DecodeError(SampleError):
    """A media file cannot be decoded."""

    cause = "decode_error"


class EmptyTimeline(SampleError):
    """A video has no time span that a clip fits on."""

    cause = "empty_timeline"


class BadTranscript(SampleError):
    """A transcript cannot be read."""

    cause = "bad_transcript"


class DeadlineExceeded(SampleError):
    """Work on one input took longer than it may."""

    cause = "deadline_exceeded"


class TransientError(FabulaError):
    """A failure that may pass when tried again."""
