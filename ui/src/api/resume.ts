/** A large archive on its way to the server by tus: what is cut off goes on, here or after a reload. */
import { type DetailedError, Upload } from "tus-js-client";
import { AskError, api, apiRoot, ask, refused, type Schemas, unreachable } from "./client";
import { GIVEN_UP, type Options } from "./send";

/** A proxy that reads a request to its end before it passes it on loses no more than that. */
const PIECE = 64 * 2 ** 20;
/** Milliseconds without a byte after which a connection is given up. */
const STALLED = 120_000;
const LIMIT = 429;
/** Seconds: a limit that is reached for longer is said, not waited for. */
const LONGEST_WAIT = 60;
/** Milliseconds; the last for as long as it takes. */
const PAUSES = [500, 1000, 2000, ...new Array<number>(10_000).fill(3000)];

/** Sends `body` in pieces; returns the id of its upload. Throws AskError, AbortError. */
export async function sendInPieces(body: Blob, options: Options): Promise<string> {
  const { name, fingerprint, signal } = options;
  // Asked for anew at each attempt: an answer that was lost may have begun it.
  const id = await insist(options, () => findOrBegin(body.size, name, fingerprint, signal));
  await new Promise<void>((done, failed) => {
    let stalled: ReturnType<typeof setTimeout> | undefined;
    // A connection may be dead although nothing closed it, such as after a change of the network.
    const watch = () => {
      clearTimeout(stalled);
      stalled = setTimeout(() => void upload.abort().then(() => upload.start()), STALLED);
    };
    const upload = new Upload(body, {
      // Without an endpoint: where the server is away as it asks how much is there, it would begin a new one.
      uploadUrl: `${location.origin}${apiRoot}/uploads/${id}`,
      chunkSize: PIECE,
      // The server remembers what was begun, also for another browser.
      storeFingerprintForResuming: false,
      retryDelays: PAUSES,
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        const wait = Number(error.originalResponse?.getHeader("Retry-After") ?? 0);
        // 409: the server still writes what came before a cut.
        const isPassing = isAway(status) || status === 409 || (status === LIMIT && wait <= LONGEST_WAIT);
        if (isPassing) options.onWaiting();
        return isPassing;
      },
      onProgress: (sent) => {
        watch();
        options.onProgress(sent);
      },
      onSuccess: () => {
        clearTimeout(stalled);
        done();
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
  return id;
}

async function findOrBegin(
  length: number,
  filename: string,
  fingerprint: string,
  signal: AbortSignal,
): Promise<string> {
  const rows = await ask(api.GET("/uploads", { params: { query: { fingerprint } }, signal }));
  const begun = rows.data.find((one) => one.length === length);
  if (begun) return begun.id;
  const metadata = `filename ${base64(filename)},fingerprint ${base64(fingerprint)}`;
  const header = { "upload-length": length, "upload-metadata": metadata };
  const upload = await ask(api.POST("/uploads", { params: { header }, signal }));
  return upload.id;
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** Makes a dataset of an upload; asked again after a cut, the server answers with the same one. */
export function importSent(product: string, upload: string, options: Options): Promise<Schemas["Dataset"]> {
  return insist(options, () =>
    ask(
      api.POST("/products/{product}/datasets", {
        params: { path: { product } },
        body: { upload },
        bodySerializer: JSON.stringify,
        headers: { "Content-Type": "application/json" },
        signal: options.signal,
      }),
    ),
  );
}

/** What `attempt` gives, once the server is there. Throws AskError for what it refuses. */
async function insist<T>({ onWaiting, signal }: Options, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof AskError) || !isAway(error.status)) throw error;
      onWaiting();
      await new Promise((later) => setTimeout(later, 3000));
      signal.throwIfAborted();
    }
  }
}

function isAway(status: number): boolean {
  return [0, 502, 503, 504].includes(status);
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
