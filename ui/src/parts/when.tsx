import { ago, moment } from "./numbers";

/** How long ago; the date and time on hover. */
export function When({ time }: { time: string }) {
  return (
    <time dateTime={time} title={moment(time)}>
      {ago(time)}
    </time>
  );
}
