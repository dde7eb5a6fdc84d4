"""The X server's own words: windows, idle time, the clipboard. Nothing here decides anything.

One `Desk` is one connection, for one thread. Every method raises SourceUnavailableError once the
server has gone.
"""

import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from Xlib import X
from Xlib.display import Display
from Xlib.error import (
    BadAtom,
    BadDrawable,
    BadMatch,
    BadWindow,
    ConnectionClosedError,
    DisplayError,
    XError,
)
from Xlib.ext import screensaver, xfixes

from collectors.desktop.errors import SourceUnavailableError
from collectors.desktop.observation import Window

GONE = (BadWindow, BadDrawable, BadMatch, BadAtom)  # a window may close while it is looked at
LONGEST = 1 << 20  # 4-byte units of one property
DEEPEST = 4  # levels below the root in which a window manager may put an app's window
SELECTION_WAIT_S = 1.0
MAX_COPY_BYTES = 8 << 20
NOTHING = (0, b"")


class Desk:
    """A connection to one X server."""

    def __init__(self, name: str) -> None:
        """Connect to a display, such as `:0`."""
        try:
            self._display = Display(name)
        except (DisplayError, ConnectionClosedError, OSError) as error:
            told = f"the X server {name} does not let us in: {error}"
            raise SourceUnavailableError(told) from error
        self.name = name
        self._root = self._display.screen().root
        self._mailbox: Any = None
        self._kept: list[Any] = []  # events that came while another was waited for

    def close(self) -> None:
        """Leave."""
        with _leaving():
            self._display.close()

    def fileno(self) -> int:
        """What becomes readable when the server has something to say."""
        return int(self._display.fileno())

    def watch_front(self) -> None:
        """Have the server say when another window comes to the front."""
        with _answering():
            self._root.change_attributes(event_mask=X.PropertyChangeMask)
            self._display.sync()

    def drain(self) -> None:
        """Take the server's words off the line; what they say is looked up anew."""
        with _answering():
            for _ in self._events():
                continue

    def front(self) -> Window | None:
        """The window that has the owner's attention; None = none has, or only the desktop."""
        with _answering():
            try:
                handle = self._front_handle()
            except GONE:
                return None
            if handle is None:
                return None
            self._watch_title(handle)
            return self._window(handle)

    def visible(self) -> tuple[Window, ...]:
        """All windows of programs that may be seen now, covered ones too."""
        with _answering():
            handles = self._viewable(self._root, DEEPEST)
            return tuple(found for handle in handles if (found := self._window(handle)))

    def idle_s(self) -> float:
        """Seconds since the last key or movement. Raises also where the server can't tell."""
        with _answering():
            self._require("MIT-SCREEN-SAVER")
            return float(screensaver.query_info(self._root).idle) / 1000

    def is_blanked(self) -> bool:
        """Whether the server's screen saver is on; False where it has none."""
        with _answering():
            if not self._display.has_extension("MIT-SCREEN-SAVER"):
                return False
            return bool(screensaver.query_info(self._root).state == screensaver.StateOn)

    def watch_clipboard(self) -> None:
        """Have the server say when something is copied."""
        with _answering():
            self._require("XFIXES")
            self._display.xfixes_query_version()
            screen = self._display.screen()
            self._mailbox = screen.root.create_window(
                0, 0, 1, 1, 0, screen.root_depth, event_mask=X.PropertyChangeMask
            )
            mask = xfixes.XFixesSetSelectionOwnerNotifyMask
            clipboard = self._atom("CLIPBOARD")
            self._display.xfixes_select_selection_input(self._mailbox, clipboard, mask)
            self._display.sync()

    def has_copied(self) -> bool:
        """Whether something was copied since the last call."""
        with _answering():
            kind = self._display.extension_event.SetSelectionOwnerNotify
            told = [(event.type, getattr(event, "sub_code", None)) for event in self._events()]
            return kind in told

    def clipboard_targets(self) -> frozenset[str]:
        """The formats in which the clipboard is offered; none where nobody offers it."""
        with _answering():
            width, atoms = self._convert("TARGETS")
            if width != 32:
                return frozenset()
            return frozenset(str(self._display.get_atom_name(atom)) for atom in atoms if atom)

    def clipboard_text(self, target: str) -> str | None:
        """The clipboard as text of a format; None = its program gave none, or far too much."""
        with _answering():
            width, content = self._convert(target)
            if width != 8:
                return None
            return bytes(content).decode("utf-8", errors="replace").replace("\0", "")

    def _front_handle(self) -> Any:
        named = self._property(self._root, "_NET_ACTIVE_WINDOW")
        if named is not None and len(named):
            return self._display.create_resource_object("window", named[0]) if named[0] else None
        focus = self._display.get_input_focus().focus  # without a window manager that tells
        if isinstance(focus, int):
            return None
        return self._with_class(focus)

    def _with_class(self, handle: Any) -> Any:
        """The window itself or the nearest one round it that a program has named."""
        while handle and handle != self._root:
            if handle.get_wm_class():
                return handle
            handle = handle.query_tree().parent
        return None

    def _watch_title(self, handle: Any) -> None:
        handle.change_attributes(event_mask=X.PropertyChangeMask, onerror=_ignore)

    def _window(self, handle: Any) -> Window | None:
        """None = it has just gone, or no program has said a word of it."""
        try:
            instance, app = handle.get_wm_class() or ("", "")
            title = self._title(handle)
            pid = self._property(handle, "_NET_WM_PID")
        except GONE:
            return None
        if not (app or instance or title):
            return None
        number = int(pid[0]) if pid is not None and len(pid) else None
        title = title.replace("\0", "")
        return Window(app, instance, title, number, command_of(number))

    def _title(self, handle: Any) -> str:
        named = self._property(handle, "_NET_WM_NAME")
        if named is None:
            named = self._property(handle, "WM_NAME")
        if named is None or isinstance(named, str):
            return named or ""
        try:
            return bytes(named).decode()
        except UnicodeDecodeError:  # WM_NAME is Latin-1 where its program is old
            return bytes(named).decode("latin-1")

    def _viewable(self, handle: Any, depth: int) -> Iterator[Any]:
        """Named windows below this one that are mapped, as their parents are."""
        try:
            children = handle.query_tree().children
        except GONE:
            return
        for child in children:
            if not self._is_viewable(child):
                continue
            if self._window(child):
                yield child
            elif depth > 1:
                yield from self._viewable(child, depth - 1)

    def _is_viewable(self, handle: Any) -> bool:
        try:
            return bool(handle.get_attributes().map_state == X.IsViewable)
        except GONE:
            return False

    def _property(self, handle: Any, name: str) -> Any:
        try:
            found = handle.get_full_property(self._atom(name), X.AnyPropertyType, LONGEST)
        except GONE:
            return None
        return None if found is None else found.value

    def _atom(self, name: str) -> int:
        return int(self._display.get_atom(name))

    def _require(self, extension: str) -> None:
        if not self._display.has_extension(extension):
            raise SourceUnavailableError(f"the X server {self.name} has no {extension} extension")

    def _convert(self, target: str) -> tuple[int, Any]:
        """What the clipboard's program hands over in a format, as its width in bits and content.

        A width of 0: nothing, or not in time.
        """
        clipboard, wanted, box = map(self._atom, ("CLIPBOARD", target, "AM_COLLECT"))
        self._mailbox.delete_property(box)
        self._mailbox.convert_selection(clipboard, wanted, box, X.CurrentTime)
        event = self._await(lambda event: event.type == X.SelectionNotify)
        if event is None or event.property == X.NONE:
            return NOTHING
        found = self._mailbox.get_full_property(box, X.AnyPropertyType, LONGEST)
        if found is None:
            return NOTHING
        if found.property_type == self._atom("INCR"):
            return self._gathered(box)
        return int(found.format), found.value

    def _gathered(self, box: int) -> tuple[int, Any]:
        """Large content comes in pieces, each when the one before was taken; an empty one ends."""

        def is_piece(event: Any) -> bool:
            is_ours = event.type == X.PropertyNotify and event.atom == box
            return bool(is_ours and event.state == X.PropertyNewValue)

        content = b""
        self._mailbox.delete_property(box)
        while self._await(is_piece) is not None and len(content) <= MAX_COPY_BYTES:
            piece = self._mailbox.get_full_property(box, X.AnyPropertyType, LONGEST)
            self._mailbox.delete_property(box)
            if piece is None or piece.format != 8:
                return NOTHING
            if not piece.value:
                return 8, content
            content += bytes(piece.value)
        return NOTHING

    def _await(self, is_wanted: Callable[[Any], bool]) -> Any:
        """The next event of a kind, None = not in time; others are kept for the next look."""
        self._display.flush()
        deadline = time.monotonic() + SELECTION_WAIT_S
        while (left_s := deadline - time.monotonic()) > 0:
            if not self._display.pending_events():
                select.select([self.fileno()], [], [], left_s)
                continue
            event = self._display.next_event()
            if is_wanted(event):
                return event
            self._kept.append(event)
        return None

    def _events(self) -> Iterator[Any]:
        """All that the server has said so far."""
        kept, self._kept = self._kept, []
        yield from kept
        while self._display.pending_events():
            yield self._display.next_event()


def command_of(pid: int | None) -> tuple[str, ...]:
    """A program's command line; empty where it is not ours to see, or gone."""
    if pid is None or pid <= 0:
        return ()
    try:
        return tuple(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ()


def _ignore(*_: object) -> None:
    """For requests whose window may be gone: that is seen at the next look."""


@contextmanager
def _answering() -> Iterator[None]:
    """Turn the end of the server into what it means."""
    try:
        yield
    except (ConnectionClosedError, OSError) as error:
        raise SourceUnavailableError(f"the X server has gone: {error}") from error
    except XError as error:  # but for the windows that have just closed, see GONE
        told = f"the X server can't do that: {type(error).__name__}"
        raise SourceUnavailableError(told) from error


@contextmanager
def _leaving() -> Iterator[None]:
    """A server that has gone before us needs no farewell."""
    try:
        yield
    except (ConnectionClosedError, OSError):
        return
