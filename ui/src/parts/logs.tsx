import { api, ask, file, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { bytes } from "./numbers";

/** The logs of a training, as files. */
export function Logs({ job }: { job: Schemas["Job"] }) {
  const state = useAsk(
    (signal) => ask(api.GET("/jobs/{job}/logs", { params: { path: { job: job.id } }, signal })),
    [job.id, job.status],
  );
  if (!state.value || state.value.length === 0) return null;
  return (
    <section class="card">
      <h2>Logs</h2>
      <ul class="links">
        {state.value.map((log) => (
          <li key={log.name}>
            <a href={file(`/jobs/${job.id}/logs/${log.name}`)} target="_blank" rel="noreferrer">
              {log.name}
            </a>
            <span class="end quiet">{bytes(log.bytes)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
