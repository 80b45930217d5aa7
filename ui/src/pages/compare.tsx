/** `/ui/compare?product=…&jobs=a,b,c`: which training learned better? */
import { useLocation } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "../parts/asked";
import { Chart, type Line } from "../parts/chart";
import { Empty } from "../parts/empty";
import { isActive } from "../parts/job_progress";
import { decimal, duration, percent } from "../parts/numbers";
import { Page } from "../parts/page";
import { State } from "../parts/state";
import { When } from "../parts/when";

const POINTS = 300;
const LOOK = 3000;

export default function Compare() {
  const { query, route } = useLocation();
  const { product } = query;
  const chosen = (query.jobs ?? "").split(",").filter(Boolean);
  const state = useAsk((signal) => gather(product, chosen, signal), [product], {
    every: (value) => (value?.runs.some(({ job }) => isActive(job)) ? LOOK : null),
    as: chosen,
  });
  const choose = (ids: string[]) =>
    route(page(`/compare?${product ? `product=${product}&` : ""}jobs=${ids.join(",")}`), true);
  return (
    <Page
      title="Compare trainings"
      crumbs={[["Products", ""], ...(product ? [[product, `/products/${product}`] as [string, string]] : [])]}
      curl={chosen.map((id) => ({ what: `Curves of ${id}`, curl: `{api}/jobs/${id}/metrics` }))}
    >
      <Asked state={state} lines={12}>
        {({ runs, others }) => (
          <>
            {runs.length === 0 ? (
              <Empty title="Nothing chosen yet">
                <p>Choose trainings of one product below: their curves lie over each other.</p>
              </Empty>
            ) : (
              <Curves runs={runs} />
            )}
            {runs.length > 1 && <Differences runs={runs} />}
            <section class="card">
              <h2>Trainings</h2>
              <ul class="links">
                {others.map((job) => (
                  <li key={job.id}>
                    <label class="check">
                      <input
                        type="checkbox"
                        checked={chosen.includes(job.id)}
                        onChange={(event) =>
                          choose(
                            event.currentTarget.checked
                              ? [...chosen, job.id]
                              : chosen.filter((id) => id !== job.id),
                          )
                        }
                      />
                      {nameOf(job)}
                    </label>
                    <a href={page(`/jobs/${job.id}`)}>open</a>
                    <State of={job.status} />
                    <span class="end quiet">
                      <When time={job.created_at} />
                    </span>
                  </li>
                ))}
              </ul>
            </section>
          </>
        )}
      </Asked>
    </Page>
  );
}

interface Run {
  job: Schemas["Job"];
  metrics: Schemas["JobMetrics"];
}

async function gather(product: string | undefined, ids: string[], signal: AbortSignal) {
  const [runs, others] = await Promise.all([
    Promise.all(
      ids.map(async (job): Promise<Run> => {
        const path = { job };
        const [found, metrics] = await Promise.all([
          ask(api.GET("/jobs/{job}", { params: { path }, signal })),
          ask(api.GET("/jobs/{job}/metrics", { params: { path, query: { max_points: POINTS } }, signal })),
        ]);
        return { job: found, metrics };
      }),
    ),
    ask(api.GET("/jobs", { params: { query: { product, kind: "training", limit: 50 } }, signal })),
  ]);
  return { runs, others: others.data };
}

function nameOf(job: Schemas["Job"]): string {
  return `${job.network} …${job.id.slice(-6)}`;
}

function Curves({ runs }: { runs: Run[] }) {
  const last = Math.max(0, ...runs.map(({ metrics }) => metrics.epochs.at(-1)?.epoch ?? 0));
  const epochs = Array.from({ length: last }, (_, at) => at + 1);
  const lines = (pick: (point: Schemas["EpochPoint"]) => number | null): Line[] =>
    runs.map(({ job, metrics }, colour) => {
      const byEpoch = new Map(metrics.epochs.map((point) => [point.epoch, pick(point)]));
      return { label: nameOf(job), colour, values: epochs.map((epoch) => byEpoch.get(epoch) ?? null) };
    });
  if (last === 0) return <p class="quiet">No epoch has ended yet.</p>;
  return (
    <section class="card">
      <div class="charts">
        <Chart
          title="Validation accuracy"
          x={epochs}
          xLabel="epoch"
          yLabel="accuracy"
          lines={lines((point) => point.valid_accuracy)}
          format={(value) => percent(value)}
          sync="compare"
        />
        <Chart
          title="Validation loss"
          x={epochs}
          xLabel="epoch"
          yLabel="loss"
          lines={lines((point) => point.valid_loss)}
          sync="compare"
        />
      </div>
    </section>
  );
}

/** What was asked otherwise, and what came of it: settings that all share are left out. */
function Differences({ runs }: { runs: Run[] }) {
  const facts = runs.map(factsOf);
  const names = [...new Set(facts.flatMap((one) => Object.keys(one)))];
  const shown = names.filter((name) => RESULTS.has(name) || new Set(facts.map((one) => one[name])).size > 1);
  return (
    <section class="card">
      <h2>Where they differ</h2>
      <div class="scroll" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <td />
              {runs.map(({ job }) => (
                <th key={job.id} scope="col">
                  {nameOf(job)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((name) => (
              <tr key={name}>
                <th scope="row">{name.replaceAll("_", " ")}</th>
                {facts.map((one, at) => (
                  <td key={runs[at]?.job.id}>{one[name] ?? "–"}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="help">
        Two test accuracies can be compared only where the test images are the same. The page of the models
        compares them on common images.
      </p>
    </section>
  );
}

const RESULTS = new Set(["test accuracy", "best epoch", "took"]);

function factsOf({ job, metrics }: Run): Record<string, string> {
  const accuracy = (metrics.test as { accuracy?: { value: number } } | null)?.accuracy;
  const facts: Record<string, string> = {
    "test accuracy": accuracy ? percent(accuracy.value) : "–",
    "best epoch": metrics.best ? `${metrics.best.epoch}: ${decimal(metrics.best.value)}` : "–",
    took:
      job.started_at && job.finished_at
        ? duration((Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000)
        : "–",
    network: job.network ?? "–",
    dataset: job.dataset?.id ?? "–",
  };
  for (const [name, value] of Object.entries(job.hyperparameters ?? {}))
    facts[name] = value === null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return facts;
}
