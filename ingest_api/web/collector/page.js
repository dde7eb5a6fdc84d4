// The page's elements, by their ids.

export const $ = (id) => document.getElementById(id);

export const show = (id, isShown) => ($(id).hidden = !isShown);

/** Writes a text only where it is another: a screen reader reads each change aloud. */
export function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

/** A new element: `make("p", { className: "hint" }, "text", child)`. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Warns until `text` is null; one warning for each `topic`. */
export function warn(topic, text) {
  const id = `warning-${topic}`;
  if (!text) $(id)?.remove();
  else if ($(id)) write(id, text);
  else $("warnings").append(make("p", { id, className: "warning" }, text));
}

/** Asks before something is deleted; true where the answer is yes. */
export function confirmed(question) {
  const dialog = $("ask");
  write("ask-title", question);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }),
  );
}
