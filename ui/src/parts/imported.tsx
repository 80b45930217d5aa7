import { api, ask, page, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "./asked";
import { Act } from "./confirm";
import { Empty } from "./empty";
import { Findings } from "./findings";
import { count, duration } from "./numbers";
import { ProblemText } from "./problem";
import { State } from "./state";

interface Props {
  product: string;
  dataset: string;
}

/** A dataset from its first byte on: how far its import is, what it asks, and what it found. */
export function Imported({ product, dataset }: Props) {
  const state = useAsk((signal) => gather(dataset, signal), [dataset], {
    every: (value) => (value?.dataset.status === "importing" ? 700 : null),
  });
  return (
    <Asked state={state} lines={6}>
      {({ dataset: found, job, report, examination }) => (
        <>
          {found.status === "importing" && <Running job={job} changed={state.again} />}
          {found.status === "failed" && (
            <Failed dataset={found} job={job} product={product} changed={state.again} />
          )}
          {found.status === "ready" && (
            <>
              <Taken dataset={found} report={report} />
              <Findings dataset={found} report={report} examination={examination} />
            </>
          )}
        </>
      )}
    </Asked>
  );
}

async function gather(id: string, signal: AbortSignal) {
  const params = { params: { path: { dataset: id } }, signal };
  const dataset = await ask(api.GET("/datasets/{dataset}", params));
  const job = dataset.job
    ? await ask(api.GET("/jobs/{job}", { params: { path: { job: dataset.job } }, signal }))
    : undefined;
  if (dataset.status !== "ready") return { dataset, job, report: undefined, examination: undefined };
  const [report, examination] = await Promise.all([
    ask(api.GET("/datasets/{dataset}/report", params)),
    dataset.examination ? ask(api.GET("/datasets/{dataset}/examination", params)) : undefined,
  ]);
  return { dataset, job, report: report as unknown as Report, examination };
}

/** What the page reads of `/datasets/{dataset}/report`, which has no closed schema. */
export interface Report {
  advice: string[];
  training_refused: string | null;
  corrupt: { name: string; reason: string }[];
  skipped: { name: string; reason: string }[];
  odd_names: { name: string; original: string; reason: string }[];
  /** Lacking in reports of older releases. */
  copies?: { images: { item: string; name: string; label: string }[]; number: number }[];
  totals: Record<string, number>;
}

const STAGES: Record<string, string> = {
  preparing: "Reading the images",
  examining: "Looking at what the images show",
};

function Running({ job, changed }: { job: Schemas["Job"] | undefined; changed: () => void }) {
  const { done, total, fraction, eta_seconds } = job?.progress ?? {};
  const isWaiting = job?.status !== "running";
  return (
    <section class="card">
      <h2>{isWaiting ? "Waiting for a worker" : (STAGES[job.stage ?? ""] ?? "Importing")}</h2>
      <progress max={1} value={isWaiting ? undefined : fraction || undefined} aria-label="Imported" />
      <p>
        {done != null &&
          (total == null ? count(done, "image") : `${done.toLocaleString("en")} of ${count(total, "image")}`)}
        {eta_seconds != null && eta_seconds > 0 && `, about ${duration(eta_seconds)} left`}
        {done == null && "You may leave this page: the import goes on, and this address shows it."}
      </p>
      <div class="row">
        {job && (
          <Act
            words="Cancel"
            act={async () => {
              await ask(api.POST("/jobs/{job}/cancel", { params: { path: { job: job.id } } }));
              changed();
            }}
          />
        )}
      </div>
    </section>
  );
}

interface FailedProps {
  dataset: Schemas["Dataset"];
  job: Schemas["Job"] | undefined;
  product: string;
  changed: () => void;
}

function Failed({ dataset, job, product, changed }: FailedProps) {
  const error = dataset.error ?? job?.error;
  const choices = error?.code === "choice_needed" && job ? (error.errors ?? []) : [];
  return (
    <section class="card">
      <h2>{choices.length > 0 ? "A question before it goes on" : "It did not become a dataset"}</h2>
      {choices.length > 0 ? (
        <>
          <p>{capital(error?.detail?.split(": ")[0] ?? "")}. Which is meant?</p>
          <div class="readings">
            {choices.map((choice) => (
              <Choice
                key={choice.message}
                choice={choice}
                job={(job as Schemas["Job"]).id}
                changed={changed}
              />
            ))}
          </div>
        </>
      ) : error ? (
        <ProblemText problem={error} />
      ) : (
        <p>{job?.status === "cancelled" ? "It was cancelled." : "Nobody knows why."}</p>
      )}
      <div class="row">
        <a class={choices.length > 0 ? "button" : "button main"} href={page(`/products/${product}/import`)}>
          Import something else
        </a>
      </div>
    </section>
  );
}

interface ChoiceProps {
  choice: { pointer: string; message: string };
  job: string;
  changed: () => void;
}

/** One reading of an upload that can be read in several ways: `/class_level`, `leaf: 6 classes (…)`. */
function Choice({ choice: { pointer, message }, job, changed }: ChoiceProps) {
  const field = pointer.replace("/", "");
  // A table is named whole, a level or an encoding at the start of what it would give.
  const value = field === "labels" ? message : (/^[\w.-]+/.exec(message)?.[0] ?? message);
  return (
    <Act
      words={LEVELS[value] ? message.replace(value, LEVELS[value]) : message}
      act={async () => {
        await ask(
          api.POST("/jobs/{job}/retry", {
            params: { path: { job } },
            body: { start: "beginning", [field]: value },
          }),
        );
        changed();
      }}
    />
  );
}

/** Of folders inside folders. */
const LEVELS: Record<string, string> = {
  top: "The outermost folders",
  leaf: "The innermost folders",
  path: "All folders, joined by /",
};

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function Taken({ dataset, report }: { dataset: Schemas["Dataset"]; report: Report | undefined }) {
  const { classes } = dataset;
  const most = Math.max(1, ...classes.map((one) => one.count));
  const train = page(`/products/${dataset.product}/train?dataset=${dataset.id}`);
  return (
    <section class="card">
      <div class="title">
        <p class="answer">
          {count(dataset.items ?? 0, "image")} in {count(classes.length, "class", "classes")}
        </p>
        <div class="actions">
          {report?.training_refused ? (
            <a class="button main" href={page(`/products/${dataset.product}/import`)}>
              Import more
            </a>
          ) : (
            <a class="button main" href={train}>
              Train
            </a>
          )}
          <a class="button" href={page(`/datasets/${dataset.id}`)}>
            Look at the images
          </a>
        </div>
      </div>
      {report?.training_refused && (
        <div class="notice">
          <p>
            <b>A training would be refused:</b> {report.training_refused}.
          </p>
        </div>
      )}
      {classes.length === 0 && <Empty title="No class">{null}</Empty>}
      <ul class="bars counts">
        {classes.map(({ name, count: number }) => (
          <li key={name}>
            <span class="name">{name}</span>
            <span>{number.toLocaleString("en")}</span>
            <span class="track" aria-hidden="true">
              <span style={{ width: `${(number / most) * 100}%` }} />
            </span>
          </li>
        ))}
      </ul>
      <p class="quiet small">
        From {dataset.source}, <code>{dataset.id}</code> <State of={dataset.status} />
        {dataset.counts &&
          ` It came split: ${Object.entries(dataset.counts)
            .map(([split, number]) => `${split} ${number.toLocaleString("en")}`)
            .join(", ")}.`}
      </p>
    </section>
  );
}
