"""What can go wrong in running the stack. Every message says what to do.

StackError
├── HomeError          the stack's folder is not usable
├── AddressError       a server cannot listen at the address a setting names
├── PortTakenError     somebody else listens where a part has to
├── PartFailedError    a part did not become ready
├── NotReadyError      one look at a part that does not answer (yet)
├── BackupError        a backup cannot be taken, or is not what was written
└── ExportError        an export cannot be written, or is not what was written
"""


class StackError(Exception):
    """The embedded stack cannot do what was asked."""


class HomeError(StackError):
    """The stack's folder cannot be used as it is."""


class AddressError(StackError):
    """A server cannot listen at this address, whoever else does."""


class PortTakenError(StackError):
    """Somebody else listens on a port that a part needs."""


class PartFailedError(StackError):
    """A part did not become ready; carries its name and the end of its log."""

    def __init__(self, part: str, reason: str, *, log_tail: str) -> None:
        super().__init__(f"{part} did not become ready: {reason}\n{log_tail}".rstrip())
        self.part = part
        self.reason = reason


class NotReadyError(StackError):
    """A part does not answer as it should."""


class BackupError(StackError):
    """A backup that cannot be taken or put back, or that is not what was written."""


class ExportError(StackError):
    """An export that cannot be written or taken in, or that is not what was written."""
