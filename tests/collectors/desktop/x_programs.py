"""Small X programs, and as much of a window manager as tells which of them is in front."""

import os
import select
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from Xlib import X, Xatom
from Xlib.display import Display
from Xlib.error import ConnectionClosedError
from Xlib.ext import xtest
from Xlib.protocol import event as events

SIZE = (800, 600)
PIECE = 50_000


class Screen:
    """A connection that makes windows and acts as the window manager."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._display = Display(name)
        self._root = self._display.screen().root
        self._windows: list[Any] = []
        self._copied: list[Clipboard] = []

    def close(self) -> None:
        self.front(None)
        for window in self._windows:
            window.destroy()
        self._display.sync()
        for copied in self._copied:
            copied.close()
        self._display.close()

    def open(self, app: str, title: str, *, colour: int = 0x808080, pid: int | None = None) -> Any:
        """A window of a program, as large as the screen, mapped."""
        screen = self._display.screen()
        window = self._root.create_window(
            0, 0, *SIZE, 0, screen.root_depth, background_pixel=colour, override_redirect=True
        )
        window.set_wm_class(app.lower(), app)
        window.change_property(self._atom("_NET_WM_PID"), Xatom.CARDINAL, 32, [pid or os.getpid()])
        self.title(window, title)
        window.map()
        window.clear_area()
        self._windows.append(window)
        self._display.sync()
        return window

    def title(self, window: Any, title: str) -> None:
        name, kind = self._atom("_NET_WM_NAME"), self._atom("UTF8_STRING")
        window.change_property(name, kind, 8, title.encode())
        self._display.sync()

    def paint(self, window: Any, colour: int, *, height: int = SIZE[1]) -> None:
        """Fill the upper part of a window."""
        pen = window.create_gc(foreground=colour)
        window.fill_rectangle(pen, 0, 0, SIZE[0], height)
        self._display.sync()

    def front(self, window: Any) -> None:
        """What a window manager does when a window gets the attention."""
        if window is not None:
            window.raise_window()
        number = 0 if window is None else window.id
        self._root.change_property(self._atom("_NET_ACTIVE_WINDOW"), Xatom.WINDOW, 32, [number])
        self._display.sync()

    def forget_front(self) -> None:
        """As if there were no window manager."""
        self._root.delete_property(self._atom("_NET_ACTIVE_WINDOW"))
        self._display.sync()

    def focus(self, window: Any) -> None:
        window.set_input_focus(X.RevertToPointerRoot, X.CurrentTime)
        self._display.sync()

    def destroy(self, window: Any) -> None:
        self._windows.remove(window)
        window.destroy()
        self._display.sync()

    def hide(self, window: Any) -> None:
        window.unmap()
        self._display.sync()

    def touch_mouse(self) -> None:
        """As a hand would."""
        pointer = self._root.query_pointer()
        xtest.fake_input(
            self._display, X.MotionNotify, x=(pointer.root_x + 7) % SIZE[0], y=pointer.root_y
        )
        self._display.sync()

    def copy(self, **formats: bytes) -> None:
        """Have a program offer this on the clipboard, by format; `__` stands for `/`."""
        self._copied.append(
            Clipboard(self.name, {name.replace("__", "/"): told for name, told in formats.items()})
        )

    def copy_text(self, text: str, **formats: bytes) -> None:
        self.copy(UTF8_STRING=text.encode(), **formats)

    def _atom(self, name: str) -> int:
        return self._display.get_atom(name)


class Clipboard:
    """A program that has copied something and hands it over as long as it owns the clipboard."""

    def __init__(self, display: str, formats: Mapping[str, bytes]) -> None:
        self._display = Display(display)
        self._formats = {self._display.get_atom(name): told for name, told in formats.items()}
        screen = self._display.screen()
        self._window = screen.root.create_window(0, 0, 1, 1, 0, screen.root_depth)
        self._selection = self._display.get_atom("CLIPBOARD")
        self._window.set_selection_owner(self._selection, X.CurrentTime)
        self._display.sync()
        self._left: list[bytes] = []  # of large content, which goes over in pieces
        self._asked: Any = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(5)
        self._display.close()

    def _serve(self) -> None:
        with suppress(ConnectionClosedError):
            while not self._is_over.is_set():
                while self._display.pending_events():
                    self._answer(self._display.next_event())
                select.select([self._display.fileno()], [], [], 0.05)

    def _answer(self, asked: Any) -> None:
        if asked.type == X.PropertyNotify and asked.state == X.PropertyDelete and self._left:
            first = self._asked
            first.requestor.change_property(first.property, first.target, 8, self._left.pop(0))
            self._display.flush()
        if asked.type != X.SelectionRequest:
            return
        targets, pieces = self._display.get_atom("TARGETS"), self._display.get_atom("INCR")
        given = asked.property
        if asked.target == targets:
            asked.requestor.change_property(given, Xatom.ATOM, 32, [targets, *self._formats])
        elif asked.target in self._formats:
            told = self._formats[asked.target]
            if len(told) <= PIECE:
                asked.requestor.change_property(given, asked.target, 8, told)
            else:
                asked.requestor.change_attributes(event_mask=X.PropertyChangeMask)
                asked.requestor.change_property(given, pieces, 32, [len(told)])
                self._left = [told[at : at + PIECE] for at in range(0, len(told), PIECE)] + [b""]
                self._asked = asked
        else:
            given = X.NONE
        asked.requestor.send_event(
            events.SelectionNotify(
                time=asked.time,
                requestor=asked.requestor,
                selection=asked.selection,
                target=asked.target,
                property=given,
            )
        )
        self._display.flush()
