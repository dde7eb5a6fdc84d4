"""What is copied to the clipboard. What is only marked with the mouse (PRIMARY) is not."""

from am_assets.streams.digital import CLIPBOARD
from collectors.desktop.exclusions import PASSWORD_HINTS, URL
from collectors.desktop.observation import Moment, Observation, Window
from collectors.desktop.sources.source import OnDesk

TEXT_TARGETS = ("UTF8_STRING", "text/plain;charset=utf-8", "text/plain", "STRING")
FILE_TARGETS = ("text/uri-list", "x-special/gnome-copied-files")
TRIES = 3  # a program that copies again and again is asked no more


class ClipboardSource(OnDesk):
    """Waits for the X server to say that something was copied, and asks for its text.

    Pictures are noted without their content.
    """

    name = "clipboard"
    interval_s = 1.0

    def open(self) -> None:
        """Connect, and be told of copies."""
        super().open()
        self.desk.watch_clipboard()

    def poll(self, moment: Moment) -> list[Observation]:
        """The copy that was made since the last look, if there was one."""
        for _ in range(TRIES):
            if not self.desk.has_copied() or moment.is_locked:
                return []
            front = self.desk.front()
            targets = self.desk.clipboard_targets()
            text = None if PASSWORD_HINTS & targets else self._text(targets)
            # A new copy may have come while the old one was read: they must not be mixed up, for
            # it was the old one that came from no password manager.
            if not self.desk.has_copied():
                return self._told(moment, front, targets, text)
        return []

    def _text(self, targets: frozenset[str]) -> str | None:
        wanted = next((one for one in (*FILE_TARGETS, *TEXT_TARGETS) if one in targets), None)
        return None if wanted is None else self.desk.clipboard_text(wanted)

    def _told(
        self, moment: Moment, front: Window | None, targets: frozenset[str], text: str | None
    ) -> list[Observation]:
        kind = content_type(targets, text)
        if kind is None:
            return []
        values = {
            "content_type": kind,
            "content_text": text,
            "source_app": front.identifier if front else None,
        }
        return [
            Observation(
                source=self.name,
                stream=CLIPBOARD.name,
                ts=moment.ts,
                values=values,
                windows=() if front is None else (front,),
                texts=() if text is None else (text,),
                targets=targets,
                is_of_screen=True,
            )
        ]


def content_type(targets: frozenset[str], text: str | None) -> str | None:
    """What was copied; None = nothing that has a name, or the clipboard was emptied. Pure."""
    if PASSWORD_HINTS & targets:
        return "text"  # the rules hold it back, and count it
    if text and targets & set(FILE_TARGETS):
        return "file"
    if text and text.strip():
        return "url" if URL.fullmatch(text.strip()) else "text"
    if any(target.startswith("image/") for target in targets):
        return "image"
    return None
