"""What can go wrong with a model, in one tree.

    ModelError
    ├── UnknownModelError        configuration names a model that the catalog does not have
    ├── ModelUnavailableError    weights, package or process missing: the item is not to blame
    │   └── ModelUnreachableError  the cluster or actor that holds the model does not answer
    └── UnreadableInputError     this one item can't be decoded: retrying will not help

`ModelUnavailableError` makes work items `blocked`, `UnreadableInputError` makes one `failed`.
All of them pass through pickle unchanged, so that they cross process borders as themselves.
"""

from collections.abc import Sequence


class ModelError(Exception):
    """Base of everything that `models/` raises on purpose."""


class UnknownModelError(ModelError):
    """A task has no model of that name; `known` holds the names it has."""

    def __init__(self, task: str, name: str, known: Sequence[str]) -> None:
        super().__init__(task, name, known)
        self.task, self.name, self.known = task, name, tuple(known)

    def __str__(self) -> str:
        return f"no {self.task} model is called {self.name!r}; known are {', '.join(self.known)}"


class ModelUnavailableError(ModelError):
    """The model of `task` can't be had from `folder`; `remedy` says what to do about it."""

    def __init__(self, task: str, folder: str, remedy: str) -> None:
        super().__init__(task, folder, remedy)
        self.task, self.folder, self.remedy = task, folder, remedy

    def __str__(self) -> str:
        return f"{self.task}: no usable model in {self.folder}: {self.remedy}"


class ModelUnreachableError(ModelUnavailableError):
    """The model of `task` runs elsewhere (`folder` is that address) and does not answer."""

    def __str__(self) -> str:
        return f"{self.task}: the model at {self.folder} does not answer: {self.remedy}"


class UnreadableInputError(ModelError):
    """One item is not what its kind says (an image that is none); `reason` is the decoder's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
