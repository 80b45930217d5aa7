/** The files of what was dropped or chosen, with their paths. */
import type { Found } from "./pack";

/** Walks through dropped folders. Call it while the drop is handled: later the browser forgets them. */
export function readDropped(transfer: DataTransfer): Promise<Found[]> {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  if (entries.length === 0) return Promise.resolve(readChosen(transfer.files));
  return walk(entries);
}

/** Those of an input; one for folders gives each its path from the folder on. */
export function readChosen(files: Iterable<File>): Found[] {
  return [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

async function walk(entries: FileSystemEntry[]): Promise<Found[]> {
  const found: Found[] = [];
  const waiting = [...entries].reverse();
  for (let entry = waiting.pop(); entry !== undefined; entry = waiting.pop()) {
    if (isFolder(entry)) waiting.push(...(await list(entry)).reverse());
    else {
      const file = await open(entry as FileSystemFileEntry);
      found.push({ path: entry.fullPath.replace(/^\//, ""), file });
    }
  }
  return found;
}

function isFolder(entry: FileSystemEntry): entry is FileSystemDirectoryEntry {
  return entry.isDirectory;
}

/** All of a folder, by name: a reader gives a hundred at a time, in the order of the disk. */
async function list(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((found, failed) => reader.readEntries(found, failed));
    if (some.length === 0) return all.sort((a, b) => (a.name < b.name ? -1 : 1));
    all.push(...some);
  }
}

function open(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((found, failed) => entry.file(found, failed));
}
