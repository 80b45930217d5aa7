/** `/ui/service`: does everything run, what waits, what must be done? */
import { api, ask, page, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "../parts/asked";
import { Empty } from "../parts/empty";
import { nameOf } from "../parts/job_progress";
import { bytes, count, percent } from "../parts/numbers";
import { Page } from "../parts/page";
import { State } from "../parts/state";
import { When } from "../parts/when";

const LOOK = 5000;

export default function Service() {
  return (
    <Page
      title="Service"
      curl={[
        { what: "The checks of this installation", curl: "{api}/doctor" },
        { what: "The workers", curl: "{api}/workers" },
        { what: "What waits", curl: "'{api}/jobs?status=queued'" },
        { what: "Who changed what", curl: "{api}/audit" },
      ]}
    >
      <div class="columns">
        <div>
          <Checks />
        </div>
        <div>
          <Workers />
          <Queue />
          <Trail />
          <About />
        </div>
      </div>
    </Page>
  );
}

const STATES: Record<Schemas["InstallationFinding"]["status"], string> = {
  ok: "well",
  warning: "look",
  failed: "broken",
  skipped: "skipped",
};

function Checks() {
  const state = useAsk((signal) => ask(api.GET("/doctor", { signal })), []);
  return (
    <section class="card">
      <div class="title">
        <h2>Checks</h2>
        <button type="button" class="small" disabled={state.isLoading} onClick={state.again}>
          Look again
        </button>
      </div>
      <Asked state={state} lines={14}>
        {({ ok, findings }) => {
          const worst = findings.filter(({ status }) => status === "failed" || status === "warning");
          const others = findings.filter((finding) => !worst.includes(finding));
          return (
            <>
              <p>
                <b>
                  {!ok
                    ? "Something is broken."
                    : worst.length > 0
                      ? "It works. Some things are worth a look."
                      : "All is well."}
                </b>
              </p>
              <Findings of={worst} />
              <details open={worst.length === 0}>
                <summary>{count(others.length, "check")} that found nothing to do</summary>
                <Findings of={others} />
              </details>
            </>
          );
        }}
      </Asked>
    </section>
  );
}

function Findings({ of }: { of: Schemas["InstallationFinding"][] }) {
  return (
    <ul class="links">
      {of.map((finding) => (
        <li key={`${finding.check} ${finding.detail}`}>
          <State of={STATES[finding.status]} />
          <b>{finding.check}</b>
          <span>{finding.detail}</span>
          {finding.hint && <span class="quiet">{finding.hint}</span>}
        </li>
      ))}
    </ul>
  );
}

function Workers() {
  const state = useAsk((signal) => ask(api.GET("/workers", { signal })), [], { every: () => LOOK });
  return (
    <section class="card">
      <h2>Workers</h2>
      <Asked state={state}>
        {({ data }) =>
          data.length === 0 ? (
            <Empty title="No worker runs">
              <p>
                Jobs wait until one does. <code>loupe up</code> starts two, <code>loupe worker</code> one
                more.
              </p>
            </Empty>
          ) : (
            <ul class="links">
              {data.map((worker) => (
                <li key={worker.id}>
                  <State of={worker.status} />
                  <span>
                    {worker.host}, queue {worker.queue}
                  </span>
                  <span class="end quiet small">{devicesOf(worker)}</span>
                  {worker.jobs.map((job) => (
                    <span key={job.id} class="small">
                      <a href={page(`/jobs/${job.id}`)}>
                        {job.kind.replaceAll("_", " ")} of {job.product}
                      </a>
                      {job.fraction !== null && ` ${percent(job.fraction, 0)}`}
                    </span>
                  ))}
                </li>
              ))}
            </ul>
          )
        }
      </Asked>
    </section>
  );
}

function devicesOf({ devices }: Schemas["Worker"]): string {
  const gpus = devices.gpus.map(({ name }) => name);
  return [count(devices.cpu_cores, "core"), bytes(devices.memory_bytes), ...gpus].join(", ");
}

function Queue() {
  const state = useAsk(
    (signal) => ask(api.GET("/jobs", { params: { query: { status: "queued", limit: 20 } }, signal })),
    [],
    { every: () => LOOK },
  );
  return (
    <section class="card">
      <h2>What waits</h2>
      <Asked state={state}>
        {({ data, has_more }) =>
          data.length === 0 ? (
            <p class="quiet">Nothing.</p>
          ) : (
            <>
              <ul class="links">
                {data.map((job) => (
                  <li key={job.id}>
                    <a href={page(`/jobs/${job.id}`)}>{nameOf(job)}</a>
                    <span class="quiet">{job.product}</span>
                    {job.waits_for && <span class="quiet small">{job.waits_for}</span>}
                    <span class="end quiet">
                      <When time={job.created_at} />
                    </span>
                  </li>
                ))}
              </ul>
              {has_more && <p class="quiet">and more</p>}
            </>
          )
        }
      </Asked>
    </section>
  );
}

function Trail() {
  const state = useAsk((signal) => ask(api.GET("/audit", { params: { query: { limit: 12 } }, signal })), []);
  return (
    <section class="card">
      <h2>Who changed what</h2>
      <Asked state={state}>
        {({ data }) =>
          data.length === 0 ? (
            <p class="quiet">Nothing was changed yet.</p>
          ) : (
            <ul class="links">
              {data.map((record) => (
                <li key={record.id}>
                  <code>{record.action}</code>
                  <span class="small">{record.things.join(" ")}</span>
                  <span class="end quiet small">
                    {record.caller ?? "without a key"}, <When time={record.at} />
                  </span>
                </li>
              ))}
            </ul>
          )
        }
      </Asked>
    </section>
  );
}

function About() {
  const state = useAsk((signal) => ask(api.GET("/version", { signal })), []);
  return (
    <section class="card">
      <h2>This Loupe</h2>
      <Asked state={state} lines={1}>
        {(version) => (
          <dl class="facts">
            {Object.entries(version as Record<string, unknown>).map(([name, value]) => (
              <div key={name}>
                <dt>{name.replaceAll("_", " ")}</dt>
                <dd>{String(value)}</dd>
              </div>
            ))}
          </dl>
        )}
      </Asked>
    </section>
  );
}
