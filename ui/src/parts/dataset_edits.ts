/** Changes of a dataset that are not made yet. The browser's tab keeps them until they are a new version. */
import { useState } from "preact/hooks";
import type { Schemas } from "../api/client";

interface Named {
  name: string;
  from: string;
}

export interface Edits {
  /** New classes of images, by their ids. */
  relabel: Record<string, Named & { to: string }>;
  /** Images that leave. */
  remove: Record<string, Named>;
  /** New names of classes, by their old ones: of two with one new name one class is made. */
  merge: Record<string, string>;
  /** The version that was made of them, while it is not known whether it came out. */
  version?: string;
}

export interface Change {
  words: string;
  undo: () => void;
}

const NONE: Edits = { relabel: {}, remove: {}, merge: {} };

function keyOf(dataset: string): string {
  return `loupe.edits.${dataset}`;
}

function readEdits(dataset: string): Edits {
  try {
    return { ...NONE, ...JSON.parse(sessionStorage.getItem(keyOf(dataset)) ?? "{}") };
  } catch {
    return NONE;
  }
}

/** Forgets the changes of a dataset, once `version` has come out of them. */
export function forgetEdits(dataset: string, version: string): void {
  if (readEdits(dataset).version === version) sessionStorage.removeItem(keyOf(dataset));
}

type Target = Pick<Schemas["DatasetItem"], "id" | "name" | "label">;

/** What becomes of an image. */
export function editOf(
  edits: Edits,
  item: Pick<Target, "id" | "label">,
): { label: string; isRemoved: boolean } {
  const label = edits.relabel[item.id]?.to ?? item.label;
  return { label: edits.merge[label] ?? label, isRemoved: item.id in edits.remove };
}

export function useEdits(dataset: string) {
  const [edits, set] = useState(() => readEdits(dataset));
  const save = (change: (old: Edits) => Edits) => {
    // From what is stored: several changes may come before the page is drawn again.
    const changed = change(readEdits(dataset));
    sessionStorage.setItem(keyOf(dataset), JSON.stringify(changed));
    set(changed);
  };
  const changes: Change[] = [
    ...Object.entries(edits.merge).map(([from, to]) => ({
      words: `The class ${from} becomes ${to}.`,
      undo: () => save((old) => ({ ...old, merge: without(old.merge, from) })),
    })),
    ...Object.entries(edits.relabel).map(([id, { name, from, to }]) => ({
      words: `${name}: ${from} becomes ${to}.`,
      undo: () => save((old) => ({ ...old, relabel: without(old.relabel, id) })),
    })),
    ...Object.entries(edits.remove).map(([id, { name }]) => ({
      words: `${name} leaves.`,
      undo: () => save((old) => ({ ...old, remove: without(old.remove, id) })),
    })),
  ];
  return {
    edits,
    changes,
    /** Another class for an image; its own one takes the change back. */
    relabel: ({ id, name, label: from }: Target, to: string) =>
      save((old) => ({
        ...old,
        relabel: to === from ? without(old.relabel, id) : { ...old.relabel, [id]: { name, from, to } },
        remove: without(old.remove, id),
      })),
    /** Leaves an image out, or takes that back. */
    toggle: ({ id, name, label: from }: Target) =>
      save((old) => ({
        ...old,
        relabel: without(old.relabel, id),
        remove: id in old.remove ? without(old.remove, id) : { ...old.remove, [id]: { name, from } },
      })),
    merge: (from: string, to: string) => save((old) => ({ ...old, merge: { ...old.merge, [from]: to } })),
    sent: (version: string) => save((old) => ({ ...old, version })),
    clear: () => save(() => NONE),
  };
}

/** What the API is asked for: the class map goes first, so images get the new names of classes. */
export function toRevision({ relabel, remove, merge }: Edits): Schemas["DatasetRevision"] {
  const merged: Record<string, string[]> = {};
  for (const [from, to] of Object.entries(merge)) merged[to] = [...(merged[to] ?? []), from];
  return {
    add: [],
    remove: Object.keys(remove),
    relabel: Object.fromEntries(Object.entries(relabel).map(([id, { to }]) => [id, merge[to] ?? to])),
    class_map: Object.keys(merged).length > 0 ? { merge: merged } : null,
  };
}

function without<T>(all: Record<string, T>, key: string): Record<string, T> {
  const { [key]: _, ...rest } = all;
  return rest;
}
