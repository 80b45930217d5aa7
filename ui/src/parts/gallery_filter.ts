/** Which of a dataset's images are shown: read from a page's address, and written to it. */
import { api, ask, type Schemas } from "../api/client";

export type Item = Schemas["DatasetItem"];
export type Split = "train" | "valid" | "test";
/** What an image may be wanted for: a filter of the API that is true. */
export type Flag = "contradiction" | "suspect" | "outlier" | "near_duplicate" | "copy";

export const FLAGS: Flag[] = ["contradiction", "suspect", "outlier", "near_duplicate", "copy"];
export const FLAG_WORDS: Record<Flag, string> = {
  contradiction: "same image, other label",
  suspect: "label looks wrong",
  outlier: "like no other of its class",
  near_duplicate: "shows what others show",
  copy: "file is there twice",
};

export interface Filter {
  label?: string[];
  item?: string[];
  split?: Split;
  job?: string;
  group?: string;
  near_group?: string;
  similar_to?: string;
  flags: Flag[];
}

/** The filter that an address states; what is no filter of ours is left out. */
export function readFilter(search: string): Filter {
  const query = new URLSearchParams(search);
  const one = (name: string) => query.get(name) || undefined;
  const many = (name: string) => (query.has(name) ? query.getAll(name) : undefined);
  const split = one("split");
  return {
    label: many("label"),
    item: many("item"),
    split: split === "train" || split === "valid" || split === "test" ? split : undefined,
    job: one("job"),
    group: one("group"),
    near_group: one("near_group"),
    similar_to: one("similar_to"),
    flags: FLAGS.filter((flag) => query.get(flag) === "true"),
  };
}

/** As the API and an address both write it, without the question mark. */
export function writeFilter({ flags, ...rest }: Filter): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(rest))
    for (const each of Array.isArray(value) ? value : [value]) if (each) query.append(name, each);
  for (const flag of flags) query.append(flag, "true");
  return query.toString();
}

export function isFiltered({ job: _, flags, ...rest }: Filter): boolean {
  return flags.length > 0 || Object.values(rest).some((value) => value !== undefined);
}

/** Images of the list from a place on. Throws AskError. */
export function askForItems(
  dataset: string,
  { flags, ...rest }: Filter,
  start: number,
  limit: number,
  signal?: AbortSignal,
): Promise<Schemas["DatasetItemPage"]> {
  const wanted = Object.fromEntries(flags.map((flag) => [flag, true]));
  const query = { ...rest, ...wanted, start, limit };
  return ask(api.GET("/datasets/{dataset}/items", { params: { path: { dataset }, query }, signal }));
}
