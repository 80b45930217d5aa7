import { useEffect, useMemo, useState } from "preact/hooks";
import { AskError, unreachable } from "../api/client";
import { askForItems, type Filter, type Item, writeFilter } from "./gallery_filter";

/** Images that are asked for at once: as many as the API gives. */
export const PAGE = 100;
/** Pages that are kept: 2,000 images are a megabyte, however many there are. */
const KEPT = 20;
/** Milliseconds that a place must be looked at before it is asked for: who passes by asks nothing. */
const REST = 60;
/** Milliseconds until a server that is away is asked once more. */
const AWAY = 3000;

/** The images of a list of any length, of which those are held that were looked at last. */
export class GalleryPages {
  total: number | undefined;
  error: AskError | undefined;
  private readonly pages = new Map<number, Item[]>();
  private readonly asked = new Map<number, AbortController>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly dataset: string,
    private readonly filter: Filter,
    private readonly changed: () => void,
  ) {}

  at(place: number): Item | undefined {
    return this.pages.get(Math.floor(place / PAGE))?.[place % PAGE];
  }

  /** Images from one place to another, that one included, are looked at. */
  look(first: number, last: number): void {
    if (this.error) return;
    const needed: number[] = [];
    for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) needed.push(page);
    for (const [page, stop] of this.asked) {
      if (needed.includes(page)) continue;
      stop.abort();
      this.asked.delete(page);
    }
    for (const page of needed) {
      const held = this.pages.get(page);
      if (held === undefined) continue;
      // The newest is the last.
      this.pages.delete(page);
      this.pages.set(page, held);
    }
    clearTimeout(this.timer);
    const missing = needed.filter((page) => !this.pages.has(page) && !this.asked.has(page));
    if (missing.length > 0)
      this.timer = setTimeout(
        () => {
          for (const page of missing) void this.fetch(page);
        },
        this.total === undefined ? 0 : REST,
      );
  }

  /** Asks again for what failed. */
  again(): void {
    this.error = undefined;
    this.changed();
  }

  close(): void {
    clearTimeout(this.timer);
    for (const stop of this.asked.values()) stop.abort();
  }

  private async fetch(page: number): Promise<void> {
    const stop = new AbortController();
    this.asked.set(page, stop);
    try {
      const answer = await askForItems(this.dataset, this.filter, page * PAGE, PAGE, stop.signal);
      this.total = answer.total;
      this.error = undefined;
      this.pages.set(page, answer.data);
      for (const old of this.pages.keys()) {
        if (this.pages.size <= KEPT) break;
        this.pages.delete(old);
      }
    } catch (error) {
      if (stop.signal.aborted) return;
      this.error = error instanceof AskError ? error : unreachable();
      if (this.error.status === 0 || this.error.status >= 500)
        this.timer = setTimeout(() => this.again(), AWAY);
    } finally {
      if (this.asked.get(page) === stop) this.asked.delete(page);
    }
    this.changed();
  }
}

/** The list of a dataset's images that a filter leaves. `round`: how often it changed. */
export function useGalleryPages(dataset: string, filter: Filter): { pages: GalleryPages; round: number } {
  const [round, setRound] = useState(0);
  const key = `${dataset} ${writeFilter(filter)}`;
  const pages = useMemo(() => new GalleryPages(dataset, filter, () => setRound((old) => old + 1)), [key]);
  useEffect(() => () => pages.close(), [pages]);
  return { pages, round };
}
