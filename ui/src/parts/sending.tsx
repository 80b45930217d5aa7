import { useEffect, useRef, useState } from "preact/hooks";
import type { Schemas } from "../api/client";
import { type Cargo, GIVEN_UP, send } from "../api/send";
import { useAct } from "../api/use_act";
import { bytes, duration } from "./numbers";
import { Problem } from "./problem";

/** Milliseconds without a byte after which it is said. */
const STALLED = 5000;

interface Props {
  cargo: Cargo;
  product: string;
  sent: (dataset: Schemas["Dataset"]) => void;
  leave: () => void;
}

/** An archive on its way, until it is a dataset: how far it is, what it waits for, and the way to give it up. */
export function Sending({ cargo, product, sent, leave }: Props) {
  const [done, setDone] = useState(0);
  const [isWaiting, setWaiting] = useState(false);
  const stop = useRef(new AbortController());
  const began = useRef<{ time: number; done: number } | undefined>(undefined);
  const { go, error } = useAct(async () => {
    setDone(0);
    setWaiting(false);
    stop.current = new AbortController();
    began.current = undefined;
    try {
      const options = {
        ...cargo,
        signal: stop.current.signal,
        onWaiting: () => {
          setWaiting(true);
          began.current = undefined;
        },
        onProgress: (now: number) => {
          began.current ??= { time: performance.now(), done: now };
          setWaiting(false);
          setDone(now);
        },
      };
      sent(await send(product, cargo.body, options));
    } catch (raised) {
      if (!(raised instanceof DOMException)) throw raised;
    }
  });
  useEffect(() => {
    void go();
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", warn);
    return () => {
      removeEventListener("beforeunload", warn);
      stop.current.abort();
    };
  }, []);
  const size = cargo.body.size;
  useEffect(() => {
    // A network that is gone breaks no connection: bytes stop to flow, and nothing else happens.
    const stalled = setTimeout(() => setWaiting(done < size), STALLED);
    return () => clearTimeout(stalled);
  }, [done]);
  const now = Math.min(done, size);
  return (
    <section class="card">
      <h2>Sending {cargo.name}</h2>
      {error ? (
        <Problem error={error} again={() => void go()} />
      ) : (
        <>
          <progress max={size} value={now} aria-label="Sent" />
          <p aria-live="off">
            {now >= size
              ? "All is sent. The server writes it to its disk…"
              : `${bytes(now)} of ${bytes(size)}${isWaiting ? "" : left(began.current, now, size)}`}
          </p>
          <p role="status">
            {isWaiting && "Waiting for the network. It goes on by itself, where it stopped."}
          </p>
        </>
      )}
      <div class="row">
        <button
          type="button"
          onClick={() => {
            stop.current.abort(GIVEN_UP);
            leave();
          }}
        >
          {error ? "Something else" : "Cancel"}
        </button>
      </div>
    </section>
  );
}

/** How long the rest takes at the pace since the bytes flow. */
function left(began: { time: number; done: number } | undefined, now: number, size: number): string {
  if (!began || now <= began.done) return "";
  const seconds = (performance.now() - began.time) / 1000;
  return `, ${duration((seconds / (now - began.done)) * (size - now))} left`;
}
