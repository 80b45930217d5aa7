import type { JobEvent } from "../api/use_events";
import { decimal, moment, percent } from "./numbers";

/** What happened to a job, the newest first, in words. */
export function Events({ events }: { events: JobEvent[] }) {
  if (events.length === 0) return <p class="quiet">Nothing happened yet.</p>;
  return (
    <ol class="events" tabIndex={0} aria-label="Events, newest first">
      {[...events].reverse().map((event) => (
        <li key={event.number}>
          <time class="quiet small" dateTime={event.created_at}>
            {moment(event.created_at)}
          </time>
          <span>{inWords(event)}</span>
        </li>
      ))}
    </ol>
  );
}

interface Figures {
  loss: number;
  accuracy: number;
}

function inWords({ type, data }: JobEvent): string {
  const valid = data.valid as Figures | null | undefined;
  switch (type) {
    case "epoch":
      return [
        `Epoch ${data.epoch}`,
        valid && `validation accuracy ${percent(valid.accuracy)}, loss ${decimal(valid.loss)}`,
        data.best && "the best so far",
      ]
        .filter(Boolean)
        .join(": ");
    case "stage":
      return `${String(data.stage).replace(/^./, (letter) => letter.toUpperCase())}`;
    case "status":
      return `The job is ${data.status}.`;
    case "device":
      return `It runs on ${(data.names as string[] | undefined)?.join(", ") ?? data.device}.`;
    case "checkpoint":
      return `Saved at step ${data.step}.`;
    case "model":
      return `Model version ${data.version} is there.`;
    default:
      return [type.replaceAll("_", " "), data.reason ?? data.message].filter(Boolean).join(": ");
  }
}
