import { page, type Schemas } from "../api/client";
import { count, decimal, duration } from "./numbers";

/** What a job was asked to do and what it runs on. */
export function Settings({ job }: { job: Schemas["Job"] }) {
  const counts = job.split?.counts as Record<string, number> | null | undefined;
  const seconds =
    job.started_at && job.finished_at
      ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000
      : null;
  return (
    <section class="card">
      <h2>What it is</h2>
      <dl class="facts">
        <Fact name="Id" value={<code>{job.id}</code>} />
        {job.dataset && (
          <Fact name="Dataset" value={<a href={page(`/datasets/${job.dataset.id}`)}>{job.dataset.id}</a>} />
        )}
        {counts && (
          <Fact
            name="Images"
            value={Object.entries(counts)
              .map(([part, images]) => `${part} ${images}`)
              .join(", ")}
          />
        )}
        {job.ran_on && <Fact name="Runs on" value={job.ran_on.names.join(", ") || job.ran_on.device} />}
        {seconds !== null && <Fact name="Took" value={duration(seconds)} />}
        {job.attempt > 1 && <Fact name="Taken up" value={count(job.attempt, "time")} />}
        {job.stop_reason && <Fact name="Ended" value={job.stop_reason.replaceAll("_", " ")} />}
      </dl>
      {job.hyperparameters && (
        <details>
          <summary>All settings</summary>
          <dl class="facts">
            {Object.entries(job.hyperparameters).map(([name, value]) => (
              <Fact key={name} name={name.replaceAll("_", " ")} value={inWords(value)} />
            ))}
          </dl>
        </details>
      )}
    </section>
  );
}

function Fact({ name, value }: { name: string; value: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function inWords(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return decimal(value, 6);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
