import { useEffect, useRef } from "preact/hooks";
import { useLocation } from "preact-iso";
import { page } from "../api/client";

const PLACES: Record<string, [path: string, words: string]> = {
  p: ["", "products"],
  s: ["/service", "service"],
};
const GALLERY: [keys: string[], words: string][] = [
  [["Enter"], "an image of a gallery, large"],
  [["1", "…", "9"], "give that image another class"],
  [["x"], "leave that image out"],
  [["s"], "images that look like that one"],
];
/** How long the second key of `g p` may take, in milliseconds. */
const PAUSE = 1500;

/** Whether a key that was pressed belongs to a field. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  return target.matches("input, textarea, select, [contenteditable]") || event.ctrlKey || event.metaKey;
}

let wentAt = 0;

/** Whether `g` was pressed just now: the next key says where to go, and is no other command. */
export function isGoing(): boolean {
  return Date.now() - wentAt < PAUSE;
}

/** The keys that work on every page; `?` shows them. */
export function Keys() {
  const dialog = useRef<HTMLDialogElement>(null);
  const { route } = useLocation();
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (isTyping(event)) return;
      const place = PLACES[event.key];
      if (event.key === "?") dialog.current?.showModal();
      else if (event.key === "g") wentAt = Date.now();
      else if (place && isGoing()) route(page(place[0]));
      else if (event.key === "/") {
        const search = document.querySelector<HTMLInputElement>("input[type=search]");
        if (search === null) return;
        event.preventDefault();
        search.focus();
      }
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);
  return (
    <dialog ref={dialog} aria-label="Keys">
      <h2>Keys</h2>
      <dl class="keys">
        {Object.entries(PLACES).map(([key, [, words]]) => (
          <div key={key}>
            <dt>
              <kbd>g</kbd> <kbd>{key}</kbd>
            </dt>
            <dd>go to {words}</dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>/</kbd>
          </dt>
          <dd>search, where a page has a search</dd>
        </div>
        <div>
          <dt>
            <kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd>
          </dt>
          <dd>move in a gallery or a table of answers</dd>
        </div>
        {GALLERY.map(([keys, words]) => (
          <div key={words}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{words}</dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>?</kbd>
          </dt>
          <dd>these keys</dd>
        </div>
      </dl>
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}
