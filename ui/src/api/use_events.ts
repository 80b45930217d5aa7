import { useEffect, useState } from "preact/hooks";
import { api, apiRoot, ask, type Schemas } from "./client";

export type JobEvent = Schemas["JobEvent"];

/** Kinds of events that a stream names; what a newer release adds is seen at the next look. */
const TYPES = [
  "status",
  "stage",
  "device",
  "epoch",
  "checkpoint",
  "model",
  "model_removed",
  "resumed",
  "rung",
  "mlflow",
  "stop_requested",
  "pause_requested",
  "cancel_requested",
  "warning",
];
/** How many one answer has. */
const MANY = 100;
/** How many a page keeps. */
const MOST = 500;

/**
 * What happened to a job, oldest first, and what happens from now on. The browser resumes a stream that broke where
 * it stopped (`Last-Event-ID`). `happened` is called with each that comes.
 */
export function useEvents(
  job: string,
  isActive: boolean | undefined,
  happened: (event: JobEvent) => void,
): JobEvent[] {
  const [events, setEvents] = useState<JobEvent[]>([]);
  useEffect(() => {
    setEvents([]);
    if (isActive === undefined) return;
    const add = (more: JobEvent[]) =>
      setEvents((old) => {
        const last = old.at(-1)?.number ?? 0;
        return [...old, ...more.filter(({ number }) => number > last)].slice(-MOST);
      });
    if (!isActive) {
      const stop = new AbortController();
      // The page shows the job's own error.
      readAll(job, add, stop.signal).catch(() => undefined);
      return () => stop.abort();
    }
    const stream = new EventSource(`${apiRoot}/jobs/${job}/events`);
    const take = (message: MessageEvent<string>) => {
      const event = JSON.parse(message.data) as JobEvent;
      add([event]);
      happened(event);
    };
    for (const type of TYPES) stream.addEventListener(type, take);
    return () => stream.close();
  }, [job, isActive]);
  return events;
}

/** The events are answered oldest first: the end of the job is on the last page. */
async function readAll(job: string, add: (more: JobEvent[]) => void, signal: AbortSignal): Promise<void> {
  let after: string | undefined;
  for (;;) {
    const params = { path: { job }, query: { limit: MANY, after } };
    const { data, has_more } = await ask(api.GET("/jobs/{job}/events", { params, signal }));
    add(data);
    if (!has_more) return;
    after = String(data.at(-1)?.number ?? "");
  }
}
