import { useEffect } from "preact/hooks";
import { api, ask, page } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "./asked";
import { isActive, JobProgress } from "./job_progress";
import { ProblemText } from "./problem";
import { State } from "./state";

interface Props {
  job: string;
  /** What it makes, such as "The new version". */
  words: string;
  /** Once it has ended well. */
  done?: () => void;
}

/** A job that somebody waits for on the page of what it makes: how far it is, and why it failed. */
export function JobWay({ job, words, done }: Props) {
  const state = useAsk(
    (signal) => ask(api.GET("/jobs/{job}", { params: { path: { job } }, signal })),
    ["job", job],
    { every: (value) => (value && !isActive(value) ? null : 1000) },
  );
  const isDone = state.value?.status === "succeeded";
  useEffect(() => {
    if (isDone) done?.();
  }, [isDone]);
  return (
    <Asked state={state} lines={3}>
      {(found) => (
        <div class="job-way" aria-live="polite">
          <p>
            <a href={page(`/jobs/${job}`)}>{words}</a> <State of={found.status} />
          </p>
          <JobProgress job={found} />
          {found.error && <ProblemText problem={found.error} />}
        </div>
      )}
    </Asked>
  );
}
