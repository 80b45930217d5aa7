import { useLocation } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { Act, Confirm } from "./confirm";
import { isActive } from "./job_progress";

const PAUSES = new Set(["training", "prediction"]);

/** What can be done with a job now. */
export function JobActions({ job, changed }: { job: Schemas["Job"]; changed: () => void }) {
  const { route } = useLocation();
  const params = { path: { job: job.id } };
  const then = async (answer: Promise<unknown>) => {
    await answer;
    changed();
  };
  const isRunning = job.status === "running";
  // A sweep decides for its candidates: the server refuses all but their cancellation.
  const isFree = !job.sweep;
  return (
    <>
      {isRunning && isFree && job.kind === "training" && (
        <Act
          words="Stop and keep"
          kind="main"
          act={() => then(ask(api.POST("/jobs/{job}/stop", { params })))}
        />
      )}
      {isRunning && isFree && PAUSES.has(job.kind) && (
        <Act words="Pause" act={() => then(ask(api.POST("/jobs/{job}/pause", { params })))} />
      )}
      {job.status === "paused" && isFree && (
        <Act words="Go on" kind="main" act={() => then(ask(api.POST("/jobs/{job}/resume", { params })))} />
      )}
      {(isActive(job) || job.status === "paused") && (
        <Confirm
          button="Cancel"
          title="Cancel this job?"
          confirm="Cancel the job"
          kind="danger"
          act={() => then(ask(api.POST("/jobs/{job}/cancel", { params })))}
        >
          <p>What it has done so far is thrown away. This cannot be undone.</p>
        </Confirm>
      )}
      {job.status === "failed" && isFree && (
        <Act
          words="Try again"
          kind="main"
          act={() => then(ask(api.POST("/jobs/{job}/retry", { params, body: { start: "checkpoint" } })))}
        />
      )}
      {!isActive(job) && job.status !== "paused" && (
        <Confirm
          button="Delete"
          title="Delete this job?"
          confirm="Delete the job"
          kind="danger"
          act={async () => {
            await ask(api.DELETE("/jobs/{job}", { params }));
            route(page(`/products/${job.product}`));
          }}
        >
          <p>Its curves, logs{job.model && ", its model"} and files go with it. This cannot be undone.</p>
        </Confirm>
      )}
    </>
  );
}
