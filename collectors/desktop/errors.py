"""Why collecting does not go on.

CollectError              a person has to do something; the message says what
├── SettingsError         the settings file, or what was said on the command line
├── PairingError          no token for this code
├── AlreadyCollectingError  another collector holds the spool
└── SpoolError            the spool can't be read or written

SourceUnavailableError    one source can't run here (now); the others do
"""


class CollectError(Exception):
    """Collecting can't go on."""


class SettingsError(CollectError):
    """What was asked for can't be understood."""


class PairingError(CollectError):
    """A code was not exchanged for a token."""


class AlreadyCollectingError(CollectError):
    """Another collector writes to this spool."""


class SpoolError(CollectError):
    """The spool can't be read or written."""


class SourceUnavailableError(Exception):
    """A source can't run on this machine, or not any more; the message says why and what to do."""
