import type { Schemas } from "../api/client";
import { count, decimal, duration, percent } from "./numbers";

type Job = Schemas["Job"];

export function isActive({ status }: Job): boolean {
  return status === "queued" || status === "running";
}

/** `Training of efficientnet_lite0`. */
export function nameOf({ kind, network }: Job): string {
  const words = kind.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
  return network ? `${words} of ${network}` : words;
}

const STAGES: Record<string, string> = {
  preparing: "Preparing",
  examining: "Looking at the images",
  training: "Training",
  evaluating: "Measuring",
  exporting: "Packing the model",
  verifying: "Asking the packed model about every test image",
  predicting: "Predicting",
  comparing: "Asking the champion about the same images",
};

/** What it does, how far it is, how long it still takes, and the best so far. */
export function JobProgress({ job }: { job: Job }) {
  const { progress, best } = job;
  return (
    <>
      {isActive(job) && (
        <>
          <p>
            <b>
              {job.stage
                ? (STAGES[job.stage] ?? job.stage)
                : job.status === "queued"
                  ? "Waiting"
                  : "Starting"}
            </b>
            {job.waits_for && `: ${job.waits_for}`}
            {progress.epoch != null &&
              progress.epochs != null &&
              `, epoch ${progress.epoch} of ${progress.epochs}`}
            {progress.eta_seconds != null && job.status === "running" && (
              <>, about {duration(progress.eta_seconds)} to go</>
            )}
          </p>
          <progress max={1} value={progress.fraction} aria-label="Done">
            {percent(progress.fraction, 0)}
          </progress>
          <p class="quiet small">
            {percent(progress.fraction, 0)}
            {progress.total != null && `, ${progress.done ?? 0} of ${count(progress.total, "image")}`}
            {progress.images_per_second != null && `, ${Math.round(progress.images_per_second)} images/s`}
          </p>
        </>
      )}
      {best && (
        <p>
          Best epoch: <b>{best.epoch}</b>, {best.metric.replace("valid_", "validation ")}{" "}
          {best.metric.endsWith("accuracy") ? percent(best.value) : decimal(best.value)}
        </p>
      )}
    </>
  );
}
