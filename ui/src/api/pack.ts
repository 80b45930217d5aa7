/**
 * Many files as one tar archive that is never made: a Blob of headers and of the files themselves, which the
 * browser reads from the disk while it sends. So a folder takes no memory, its length is known beforehand,
 * and the same files are the same bytes each time.
 */

export interface Found {
  /** Path in the archive, with `/` between folders. */
  path: string;
  file: File;
}

const BLOCK = 512;
const encoder = new TextEncoder();

export function pack(files: Found[]): Blob {
  const parts: BlobPart[] = [];
  for (const { path, file } of files) {
    parts.push(header(path, file.size), file);
    const rest = file.size % BLOCK;
    if (rest > 0) parts.push(new Uint8Array(BLOCK - rest));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return new Blob(parts, { type: "application/x-tar" });
}

/** A file's header; a name that POSIX's ustar has no room for stands in a record before it (pax). */
function header(path: string, size: number): Uint8Array<ArrayBuffer> {
  const name = encoder.encode(path);
  if (name.length <= 100 && name.length === path.length) return block(name, size, "0");
  const record = encoder.encode(paxRecord("path", name.length, path));
  const padded = Math.ceil(record.length / BLOCK) * BLOCK;
  const all = new Uint8Array(BLOCK + padded + BLOCK);
  all.set(block(encoder.encode("name"), record.length, "x"), 0);
  all.set(record, BLOCK);
  all.set(block(name.slice(0, 100), size, "0"), BLOCK + padded);
  return all;
}

/** `30 path=…\n`, whose number counts the whole line in bytes, itself too. */
function paxRecord(key: string, bytes: number, value: string): string {
  const rest = key.length + bytes + 3;
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return `${length} ${key}=${value}\n`;
}

/** https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html, "ustar Interchange Format". */
function block(name: Uint8Array, size: number, type: "0" | "x"): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BLOCK);
  const write = (text: string, at: number) => bytes.set(encoder.encode(text), at);
  bytes.set(name, 0);
  write("0000644\0", 100);
  write("0000000\0", 108);
  write("0000000\0", 116);
  write(`${octal(size, 11)}\0`, 124);
  write(`${octal(0, 11)}\0`, 136);
  write("        ", 148);
  write(type, 156);
  write("ustar\x0000", 257);
  const sum = bytes.reduce((all, byte) => all + byte, 0);
  write(`${octal(sum, 6)}\0 `, 148);
  return bytes;
}

function octal(number: number, digits: number): string {
  return number.toString(8).padStart(digits, "0");
}
