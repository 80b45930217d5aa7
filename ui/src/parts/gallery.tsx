import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { file } from "../api/client";
import { type Edits, editOf } from "./dataset_edits";
import { type Item, writeFilter } from "./gallery_filter";
import type { GalleryPages } from "./gallery_pages";
import { decimal, percent } from "./numbers";
import { Problem } from "./problem";

/** The least width of a picture with its margin, and the height of the words below it, in pixels. */
const TILE = 148;
const WORDS = 44;
/** Rows beyond the window that are there before they are seen. */
const BEYOND = 2;
/** Browsers place nothing further down than some 16 million pixels: a longer list is scrolled faster. */
const TALLEST = 8_000_000;
/** Height of a gallery of which nothing is known yet, in pixels. */
const EMPTY = 800;
/** Milliseconds after which a place that was scrolled to counts as looked at. */
const REST = 200;

interface Props {
  dataset: string;
  pages: GalleryPages;
  /** The place of the image that keys act on. */
  at: number;
  edits: Edits;
  /** Whether the address leads to it, not to the page as a whole: then it is scrolled to. */
  isWanted: boolean;
  /** Moves there. */
  go: (place: number) => void;
  open: (place: number) => void;
  /** A key that acts on an image: a digit, `s`, `x`. */
  act: (key: string, item: Item) => void;
}

interface Window {
  /** Of the gallery's inside, in pixels. */
  width: number;
  height: number;
  scrolled: number;
}

/**
 * Pictures in rows. Only those in the window are in the page, and only some pages of the list are held.
 *
 * The list itself keeps the focus; which picture is meant stands in `aria-activedescendant`. A picture that
 * leaves the window thus takes no focus with it.
 */
export function Gallery({ dataset, pages, at, edits, isWanted, go, open, act }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState<Window>({ width: 0, height: 0, scrolled: 0 });
  const total = pages.total ?? 0;
  const isUnknown = pages.total === undefined && !pages.error;
  const columns = Math.max(1, Math.floor(view.width / TILE));
  const side = view.width / columns;
  const tall = side + WORDS;
  const rows = Math.ceil(total / columns);
  const full = rows * tall;
  const shown = Math.min(full, TALLEST);
  // How far down the whole list the window is: the same as it is scrolled, unless the list is too tall.
  const stretch = shown > view.height ? (full - view.height) / (shown - view.height) : 1;
  const top = view.scrolled * stretch;
  const first = Math.max(0, Math.floor(top / tall) - BEYOND) * columns;
  const last = Math.min(total, (Math.ceil((top + view.height) / tall) + BEYOND) * columns) - 1;
  const perWindow = Math.max(1, Math.floor(view.height / tall)) * columns;

  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const measure = () =>
      setView({ width: element.clientWidth, height: element.clientHeight, scrolled: element.scrollTop });
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(element);
    return () => watch.disconnect();
  }, []);

  useEffect(() => {
    // Of a list of unknown length the place that the address names is asked for, which says the length.
    if (pages.total === undefined) pages.look(at, at);
    else if (last >= first) pages.look(first, last);
  });

  useLayoutEffect(() => {
    if (isWanted && total > 0) box.current?.scrollIntoView({ block: "nearest" });
  }, [total > 0]);

  // The picture that is meant is shown, also after a reload and where the window got narrower.
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null || total === 0 || view.width === 0) return;
    const row = Math.floor(at / columns) * tall;
    const now = element.scrollTop * stretch;
    if (row < now) element.scrollTop = row / stretch;
    else if (row + tall > now + view.height) element.scrollTop = (row + tall - view.height) / stretch;
  }, [at, columns, total, view.width, view.height]);

  // Who scrolls away goes on from what is seen, by keys and after a reload.
  useEffect(() => {
    if (total === 0 || view.width === 0) return;
    const row = Math.floor(at / columns) * tall;
    if (row + tall > top && row < top + view.height) return;
    const timer = setTimeout(() => go(Math.min(Math.ceil(top / tall) * columns, total - 1)), REST);
    return () => clearTimeout(timer);
  }, [view.scrolled]);

  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || total === 0) return;
    const steps: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at - columns,
      ArrowDown: at + columns,
      PageUp: at - perWindow,
      PageDown: at + perWindow,
      Home: 0,
      End: total - 1,
    };
    const step = steps[event.key];
    const item = pages.at(at);
    if (step !== undefined) {
      const isRow = event.key === "ArrowUp" || event.key === "ArrowDown";
      if (!isRow || (step >= 0 && step < total)) go(Math.min(Math.max(step, 0), total - 1));
    } else if (event.key === "Enter") open(at);
    else if (item && /^[1-9sx]$/.test(event.key)) act(event.key, item);
    else return;
    event.preventDefault();
  };

  // A finger has no second way to open what it has chosen.
  const isTouched = matchMedia("(pointer: coarse)").matches;
  const places = Array.from({ length: Math.max(0, last - first + 1) }, (_, each) => first + each);
  return (
    <>
      {pages.error && <Problem error={pages.error} again={() => pages.again()} />}
      <div
        ref={box}
        class="gallery"
        role="listbox"
        aria-label="Images"
        aria-activedescendant={total > 0 ? `image-${at}` : undefined}
        tabIndex={0}
        onKeyDown={press}
        onScroll={(event) => {
          const { scrollTop } = event.currentTarget;
          setView((old) => ({ ...old, scrolled: scrollTop }));
        }}
      >
        <div class="gallery-all" style={{ height: `${isUnknown ? EMPTY : shown}px` }}>
          {places.map((place) => (
            <Tile
              key={place}
              dataset={dataset}
              place={place}
              total={total}
              item={pages.at(place)}
              isMeant={place === at}
              edits={edits}
              left={(place % columns) * side}
              top={Math.floor(place / columns) * tall - top + view.scrolled}
              width={side}
              height={tall}
              choose={() => (place === at || isTouched ? open(place) : go(place))}
            />
          ))}
        </div>
      </div>
    </>
  );
}

interface TileProps {
  dataset: string;
  place: number;
  total: number;
  item: Item | undefined;
  isMeant: boolean;
  edits: Edits;
  left: number;
  top: number;
  width: number;
  height: number;
  choose: () => void;
}

function Tile({ dataset, place, total, item, isMeant, edits, left, top, width, height, choose }: TileProps) {
  const edit = item && editOf(edits, item);
  return (
    // The list takes the keys: Enter does what a click does.
    // biome-ignore lint/a11y/useKeyWithClickEvents: see above
    // biome-ignore lint/a11y/useFocusableInteractive: see above
    <div
      id={`image-${place}`}
      class={edit?.isRemoved ? "tile tile-removed" : "tile"}
      role="option"
      aria-selected={isMeant}
      aria-setsize={total}
      aria-posinset={place + 1}
      aria-label={item ? [item.name, ...wordsOf(item, edits)].join(", ") : "Loading"}
      style={{ transform: `translate(${left}px, ${top}px)`, width: `${width}px`, height: `${height}px` }}
      onClick={choose}
    >
      {item ? (
        <>
          <Picture dataset={dataset} item={item} longest={width} />
          <span class="tile-words" aria-hidden="true">
            {wordsOf(item, edits).map((words) => (
              <span key={words}>{words}</span>
            ))}
          </span>
        </>
      ) : (
        <span class="tile-empty" />
      )}
    </div>
  );
}

/** What stands below a picture: its class, as it will be, then what is odd about it. */
function wordsOf(item: Item, edits: Edits): string[] {
  const { label, isRemoved } = editOf(edits, item);
  const words = [label === item.label ? label : `${item.label} → ${label}`];
  if (isRemoved) words.push("leaves");
  else if (item.similarity != null) words.push(`alike ${decimal(item.similarity)}`);
  else if (item.suspicion && label === item.label) words.push(`◆ ${item.suspicion.suggested}?`);
  else if (item.class_similarity != null) words.push("◆ odd");
  return words;
}

/** Lengths that are asked for, in pixels, so that a browser that is made wider keeps what it has. */
const LENGTHS = [96, 192, 384];

interface PictureProps {
  dataset: string;
  item: Pick<Item, "id" | "width" | "height">;
  /** Of its longer side on the screen, in the screen's own pixels per pixel of the page. */
  longest: number;
}

/** A thumbnail, whose request ends where it leaves the page: others wait for it. */
export function Picture({ dataset, item, longest }: PictureProps) {
  const image = useRef<HTMLImageElement>(null);
  useEffect(() => {
    const element = image.current;
    return () => element?.removeAttribute("src");
  }, []);
  const needed = longest * Math.min(devicePixelRatio, 2);
  const size = LENGTHS.find((length) => length >= needed) ?? LENGTHS.at(-1);
  const isSmall = Math.max(item.width, item.height) < longest / 2;
  return (
    <img
      ref={image}
      class={isSmall ? "pixels" : undefined}
      src={file(`/datasets/${dataset}/items/${item.id}/image?size=${size}`)}
      alt=""
      decoding="async"
      draggable={false}
    />
  );
}

/** Why somebody should look at an image; nothing where nobody should. */
export function suspicionInWords(item: Item): string | undefined {
  const { suspicion, class_similarity } = item;
  if (suspicion)
    return (
      `Its label looks wrong: it looks like ${suspicion.suggested} (${percent(suspicion.suggested_probability)}), ` +
      `not like ${item.label} (${percent(suspicion.label_probability)}).`
    );
  if (class_similarity != null)
    return `It looks like no other of its class: the most alike has a likeness of ${decimal(class_similarity)}.`;
  return undefined;
}

/** The command that lists what a gallery shows. */
export function listCommand(dataset: string, filter: Parameters<typeof writeFilter>[0]): string {
  const query = writeFilter(filter);
  return `'{api}/datasets/${dataset}/items?${query && `${query}&`}start=0&limit=100'`;
}
