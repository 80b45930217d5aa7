/** What was chosen for an import: an archive, a folder, or images without one; said before anything is sent. */
import { bytes, count } from "../parts/numbers";
import type { Problem, Schemas } from "./client";
import type { Found } from "./pack";

type Formats = Schemas["Formats"];

export interface Sorted {
  /** An archive that is sent as it is. */
  archive?: { file: File; mediaType: string };
  /** Files that lie in folders, or beside a table that says their classes. */
  inFolders: Found[];
  /** Images that lie in none: somebody must say their class. */
  loose: Found[];
  /** Why → paths of what is not sent. */
  leftOut: Map<string, string[]>;
  /** Sent, although not called as an image is: the import looks at them. */
  others: string[];
  /** Why none of it can be sent. */
  problem?: Partial<Problem>;
}

export async function sort(found: Found[], formats: Formats): Promise<Sorted> {
  const sorted: Sorted = { inFolders: [], loose: [], leftOut: new Map(), others: [] };
  const [only] = found;
  if (found.length === 1 && only && !isImage(only.path, formats)) return sortOne(only.file, formats, sorted);
  const sent = found.filter(({ path, file }) => {
    const reason = whyLeftOut(path, file, formats);
    if (reason) sorted.leftOut.set(reason, [...(sorted.leftOut.get(reason) ?? []), path]);
    return !reason;
  });
  const images = sent.filter(({ path }) => isImage(path, formats));
  const tables = sent.filter(({ path }) => endsWith(path, formats.tables));
  sorted.others = sent
    .filter((one) => !images.includes(one) && !tables.includes(one))
    .map(({ path }) => path);
  if (tables.length > 0 || sent.some(({ path }) => path.includes("/"))) sorted.inFolders = sent;
  else sorted.loose = images;
  const size = sent.reduce((all, { file }) => all + file.size, 0);
  if (sent.length === 0 || (images.length === 0 && sorted.inFolders.length === 0))
    sorted.problem = {
      title: "There is no image among what you chose.",
      hint: `Loupe reads ${listed(formats.images)}.`,
    };
  else if (size > formats.max_upload_bytes) sorted.problem = tooLarge(size, formats);
  else if (sent.length > formats.max_files)
    sorted.problem = {
      title: `There are ${count(sent.length, "file")} in it; this server takes ${count(formats.max_files, "file")}.`,
      hint: "Divide it, or have LOUPE_MAX_DATASET_ITEMS raised.",
    };
  return sorted;
}

/** How many images lie in each folder, the folders by their names. */
export function countFolders(files: Found[], formats: Formats): [folder: string, images: number][] {
  const counts = new Map<string, number>();
  for (const { path } of files) {
    if (!isImage(path, formats)) continue;
    const folder = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Images as files of a folder of their class; those of one name are told apart by a number. */
export function inClass(name: string, files: Found[], taken: Set<string>): Found[] {
  const folder = name.trim().replaceAll("/", "-");
  return files.map(({ path, file }) => {
    let free = `${folder}/${path}`;
    for (let number = 2; taken.has(free.toLowerCase()); number++) free = `${folder}/${number}-${path}`;
    taken.add(free.toLowerCase());
    return { path: free, file };
  });
}

async function sortOne(file: File, formats: Formats, sorted: Sorted): Promise<Sorted> {
  const first = new Uint8Array(await file.slice(0, 512).arrayBuffer());
  const name = nameOfArchive(first) ?? (endsWith(file.name, [".tar"]) ? "tar" : undefined);
  const kind = formats.archives.find((one) => one.name === name);
  const wanted = formats.archives.find(({ extensions }) => endsWith(file.name, extensions));
  if (file.size > formats.max_upload_bytes) sorted.problem = tooLarge(file.size, formats);
  else if (kind) sorted.archive = { file, mediaType: kind.media_type };
  else if (file.size === 0)
    sorted.problem = { title: `${file.name} is empty.`, hint: "Was it copied to its end?" };
  else if (wanted)
    sorted.problem = {
      title: `${file.name} is no ${wanted.name}, whatever its name says.`,
      hint: "It may be damaged, or a download that failed. Pack the folder again, or drop the folder itself.",
    };
  else
    sorted.problem = {
      title: `${file.name} is neither an image nor an archive that Loupe reads.`,
      hint: `Drop a folder, images (${listed(formats.images)}), or an archive (${listed(formats.archives)}).`,
    };
  return sorted;
}

const STARTS: [name: string, at: number, bytes: string][] = [
  ["zip", 0, "PK\x03\x04"],
  ["zip", 0, "PK\x05\x06"],
  ["tar.gz", 0, "\x1f\x8b"],
  ["tar.bz2", 0, "BZh"],
  ["tar", 257, "ustar"],
];

function nameOfArchive(first: Uint8Array): string | undefined {
  return STARTS.find(([, at, text]) => [...text].every((one, i) => first[at + i] === one.charCodeAt(0)))?.[0];
}

function whyLeftOut(path: string, file: File, formats: Formats): string | undefined {
  if (path.split("/").some((part) => part.startsWith("."))) return "hidden";
  if (file.size === 0) return "empty";
  if (file.size > formats.max_file_bytes) return `larger than ${bytes(formats.max_file_bytes)}`;
  const isArchive = formats.archives.some(({ extensions }) => endsWith(path, extensions));
  return isArchive ? "an archive among other files: drop it alone, or unpack it" : undefined;
}

export function isImage(path: string, formats: Formats): boolean {
  return formats.images.some(({ extensions }) => endsWith(path, extensions));
}

function endsWith(path: string, extensions: string[]): boolean {
  const name = path.toLowerCase();
  return extensions.some((extension) => name.endsWith(extension));
}

function tooLarge(size: number, formats: Formats): Partial<Problem> {
  return {
    title: `It has ${bytes(size)}; this server takes at most ${bytes(formats.max_upload_bytes)} at once.`,
    hint: "Divide it, have LOUPE_MAX_UPLOAD_BYTES raised, or import a folder that the server reaches by its path.",
  };
}

function listed(formats: { name: string }[]): string {
  const names = formats.map(({ name }) => name);
  return `${names.slice(0, -1).join(", ")} or ${names[names.length - 1]}`;
}
