/** A large archive on its way to the server by tus: what is cut off goes on, here or after a reload. */
import { type DetailedError, Upload } from "tus-js-client";
import { AskError, api, apiRoot, ask, refused, type Schemas, unreachable } from "./client";
import { GIVEN_UP, type Options } from "./send";

/** A proxy that reads a request to its end before it passes it on loses no more than that. */
const PIECE = 64 * 2 ** 20;
/** Milliseconds without a byte after which a connection is given up. */
const STALLED = 120_000;
/** Milliseconds; the last for as long as it takes. */
const PAUSES = [500, 1000, 2000, ...new Array<number>(10_000).fill(3000)];

/** Sends `body` in pieces; returns the id of its upload. Throws AskError, AbortError. */
export async function sendInPieces(body: Blob, options: Options): Promise<string> {
  const { name, fingerprint, signal } = options;
  const rows = await ask(api.GET("/uploads", { params: { query: { fingerprint } }, signal }));
  const begun = rows.data.find(({ length }) => length === body.size);
  const endpoint = `${location.origin}${apiRoot}/uploads`;
  const url = await new Promise<string | null>((done, failed) => {
    let stalled: ReturnType<typeof setTimeout> | undefined;
    // A connection may be dead although nothing closed it, such as after a change of the network.
    const watch = () => {
      clearTimeout(stalled);
      stalled = setTimeout(() => void upload.abort().then(() => upload.start()), STALLED);
    };
    const upload = new Upload(body, {
      endpoint,
      uploadUrl: begun ? `${endpoint}/${begun.id}` : null,
      metadata: { filename: name, fingerprint },
      chunkSize: PIECE,
      // The server remembers what was begun, also for another browser.
      storeFingerprintForResuming: false,
      retryDelays: PAUSES,
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        const isPassing = status === 0 || status === 409 || mayPass(status);
        if (isPassing) options.onWaiting();
        return isPassing;
      },
      onProgress: (sent) => {
        watch();
        options.onProgress(sent);
      },
      onSuccess: () => {
        clearTimeout(stalled);
        done(upload.url);
      },
      onError: (error) => {
        clearTimeout(stalled);
        failed(asAskError(error));
      },
    });
    signal.addEventListener("abort", () => {
      clearTimeout(stalled);
      // Whoever leaves is not told that the server was away.
      upload.abort(signal.reason === GIVEN_UP).catch(() => undefined);
      failed(new DOMException("It was cancelled.", "AbortError"));
    });
    upload.start();
  });
  return url?.split("/").pop() ?? "";
}

/** Makes a dataset of an upload; asked again after a cut, the server answers with the same one. */
export async function importSent(
  product: string,
  upload: string,
  options: Options,
): Promise<Schemas["Dataset"]> {
  const { signal } = options;
  for (;;) {
    try {
      return await ask(
        api.POST("/products/{product}/datasets", {
          params: { path: { product } },
          body: { upload },
          bodySerializer: JSON.stringify,
          headers: { "Content-Type": "application/json" },
          signal,
        }),
      );
    } catch (error) {
      if (!(error instanceof AskError) || !(error.status === 0 || mayPass(error.status))) throw error;
      options.onWaiting();
      await new Promise((later) => setTimeout(later, 3000));
      signal.throwIfAborted();
    }
  }
}

function mayPass(status: number): boolean {
  return [429, 502, 503, 504].includes(status);
}

function asAskError(error: Error | DetailedError): AskError {
  const answer = "originalResponse" in error ? error.originalResponse : undefined;
  if (!answer) return unreachable();
  try {
    return refused(answer.getStatus(), JSON.parse(answer.getBody()));
  } catch {
    return refused(answer.getStatus(), undefined);
  }
}
