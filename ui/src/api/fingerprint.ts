/**
 * A short text that is the same while some files are: of their paths, sizes and times of change, which need not be
 * read. `crypto.subtle` is missing where a page came over plain http, so this is cyrb53 by bryc (public domain), with
 * two seeds. It keeps apart what one person sends; it guards nothing.
 */
import type { Found } from "./pack";

export function fingerprintOf(name: string, files: Found[]): string {
  const text = JSON.stringify([name, ...files.map(({ path, file }) => [path, file.size, file.lastModified])]);
  return `page-${hash(text, 1)}${hash(text, 2)}`;
}

function hash(text: string, seed: number): string {
  let one = 0xdeadbeef ^ seed;
  let two = 0x41c6ce57 ^ seed;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    one = Math.imul(one ^ code, 2654435761);
    two = Math.imul(two ^ code, 1597334677);
  }
  one = Math.imul(one ^ (one >>> 16), 2246822507) ^ Math.imul(two ^ (two >>> 13), 3266489909);
  two = Math.imul(two ^ (two >>> 16), 2246822507) ^ Math.imul(one ^ (one >>> 13), 3266489909);
  return (4294967296 * (2097151 & two) + (one >>> 0)).toString(16).padStart(14, "0");
}
