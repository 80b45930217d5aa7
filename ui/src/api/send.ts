/** An archive on its way to the server. `fetch` does not say how much has been sent; this does. */
import { apiRoot, refused, type Schemas, unreachable } from "./client";

/** What is sent. `fingerprint`: the same while the files are. */
export interface Cargo {
  body: Blob;
  name: string;
  mediaType: string;
  fingerprint: string;
}

export interface Options {
  name: string;
  mediaType: string;
  fingerprint: string;
  signal: AbortSignal;
  /** Bytes that have left. */
  onProgress: (bytes: number) => void;
  /** The network or the server is away; it is tried again. */
  onWaiting: () => void;
}

/** An abort with this reason gives the upload up; any other leaves it to be gone on with. */
export const GIVEN_UP = "given up";

/** What is smaller goes in one request. */
const LARGE = 16 * 2 ** 20;

/** Imports an archive into a product. Throws AskError, AbortError. */
export async function send(product: string, body: Blob, options: Options): Promise<Schemas["Dataset"]> {
  if (body.size < LARGE) return post(`/products/${product}/datasets`, body, options);
  // Loaded by who needs it.
  const { importSent, sendInPieces } = await import("./resume");
  const upload = await sendInPieces(body, options);
  return importSent(product, upload, options);
}

function post<T>(path: string, body: Blob, options: Options): Promise<T> {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", apiRoot + path);
    request.setRequestHeader("Content-Type", options.mediaType);
    request.setRequestHeader("X-Filename", encodeURIComponent(options.name));
    request.upload.onprogress = (event) => options.onProgress(event.loaded);
    request.onload = () => {
      const answer = parse(request.responseText);
      if (request.status >= 200 && request.status < 300) done(answer as T);
      else failed(refused(request.status, answer));
    };
    request.onerror = () => failed(unreachable());
    request.onabort = () => failed(new DOMException("It was cancelled.", "AbortError"));
    options.signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
