/** One large body on its way to the server. `fetch` does not say how much has been sent; this does. */
import { apiRoot, refused, unreachable } from "./client";

interface Options {
  name: string;
  mediaType: string;
  signal: AbortSignal;
  /** Bytes that have left. */
  onProgress: (bytes: number) => void;
}

/** Posts `body` to a path of the API; returns the answer's JSON. Throws AskError, AbortError. */
export function send<T>(path: string, body: Blob, options: Options): Promise<T> {
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
