import type { ComponentChildren } from "preact";
import type { Asked as State } from "../api/use_ask";
import { Problem } from "./problem";

interface Props<T> {
  state: State<T>;
  /** How high the content will be, in lines: it must not push what is below when it comes. */
  lines?: number;
  children: (value: T) => ComponentChildren;
}

/** What was asked: its shape while it comes, the answer, or the error above the last answer. */
export function Asked<T>({ state, lines = 3, children }: Props<T>) {
  return (
    <>
      {state.error && <Problem error={state.error} again={state.again} />}
      {state.value !== undefined && children(state.value)}
      {state.value === undefined && !state.error && <Skeleton lines={lines} />}
    </>
  );
}

export function Skeleton({ lines }: { lines: number }) {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, at) => (
        <span key={at} />
      ))}
    </div>
  );
}
