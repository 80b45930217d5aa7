import { useMemo, useState } from "preact/hooks";
import { api, ask, file, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Ask } from "./ask";
import { Asked } from "./asked";
import { Chart } from "./chart";
import { Band, estimateOf, Share } from "./estimate";
import { Examples } from "./examples";
import { type Cell, Confusions, Matrix, MOST } from "./matrix";
import { count, decimal, percent } from "./numbers";
import { Promote } from "./promote";

type Job = Schemas["Job"];
type Evaluation = Schemas["Evaluation"];

/** How good a training's model is on images that it never saw, and where it is wrong. */
export function EvaluationOf({ job, changed }: { job: Job; changed: () => void }) {
  const state = useAsk(
    (signal) => ask(api.GET("/jobs/{job}/evaluation", { params: { path: { job: job.id } }, signal })),
    [job.id],
  );
  return (
    <Asked state={state} lines={12}>
      {(evaluation) => (
        <>
          <Figures job={job} evaluation={evaluation} changed={changed} />
          <Confusion job={job} evaluation={evaluation} />
          <Confidence job={job} />
          <Classes evaluation={evaluation} />
          <section class="card">
            <h2>Ask this model</h2>
            <Ask job={job.id} />
          </section>
        </>
      )}
    </Asked>
  );
}

function Figures({ job, evaluation, changed }: { job: Job; evaluation: Evaluation; changed: () => void }) {
  const accuracy = estimateOf(evaluation.metrics, "accuracy");
  const others = ["balanced_accuracy", "macro_f1", "macro_precision", "macro_recall"]
    .map((name): [string, ReturnType<typeof estimateOf>] => [name, estimateOf(evaluation.metrics, name)])
    .filter(([, estimate]) => estimate !== undefined);
  return (
    <section class="card">
      <h2>On {count(evaluation.items, "image")} that it never saw</h2>
      {accuracy && (
        <>
          <p class="answer">{percent(accuracy.value)} right</p>
          <p>
            <Share of={accuracy} items={evaluation.items} />
          </p>
          <Band of={accuracy} />
        </>
      )}
      <dl class="facts">
        {others.map(([name, estimate]) => (
          <div key={name}>
            <dt>{name.replaceAll("_", " ")}</dt>
            <dd>{estimate && <Share of={estimate} />}</dd>
          </div>
        ))}
      </dl>
      {evaluation.warnings.map((warning) => (
        <p key={warning} class="notice">
          {warning}
        </p>
      ))}
      <div class="row">
        <Promote job={job} changed={changed} />
        <a class="button" href={file(`/jobs/${job.id}/evaluation/report`)} target="_blank" rel="noreferrer">
          Report to print or send
        </a>
        <a class="button" href={file(`/jobs/${job.id}/evaluation/predictions`)} download>
          Every answer as CSV
        </a>
      </div>
    </section>
  );
}

function Confusion({ job, evaluation }: { job: Job; evaluation: Evaluation }) {
  const [cell, choose] = useState<Cell>();
  const { labels, counts } = evaluation.confusion_matrix as { labels: string[]; counts: number[][] };
  const View = labels.length > MOST ? Confusions : Matrix;
  return (
    <section class="card">
      <h2>Where it is wrong</h2>
      <View labels={labels} counts={counts} chosen={cell} choose={choose} />
      <h3>
        {cell
          ? cell.true === cell.predicted
            ? `Pictures of ${cell.true}, answered right`
            : `Pictures of ${cell.true}, answered as ${cell.predicted}`
          : "Its mistakes, the surest first"}
      </h3>
      <Examples job={job.id} cell={cell} />
      <p class="quiet small">The report shows what the network looked at on its mistakes.</p>
    </section>
  );
}

function Confidence({ job }: { job: Job }) {
  const state = useAsk(
    (signal) => ask(api.GET("/jobs/{job}/evaluation/curves", { params: { path: { job: job.id } }, signal })),
    [job.id],
  );
  return (
    <section class="card">
      <h2>Can its probabilities be believed?</h2>
      <Asked state={state} lines={10}>
        {(curves) => <Drawn curves={curves} />}
      </Asked>
    </section>
  );
}

/** How much of the share that is wrong a chart shows at least. */
const LEAST_RISK = 0.05;

function Drawn({ curves }: { curves: Schemas["EvaluationCurves"] }) {
  const { reliability, reliability_before, risk_coverage } = curves;
  const drawn = useMemo(() => {
    const bins = reliability.bins.filter(({ confidence }) => confidence !== null);
    return {
      confidence: bins.map((bin) => bin.confidence ?? 0),
      right: [
        { label: "right", colour: 0, values: bins.map((bin) => bin.accuracy) },
        { label: "at least", colour: 5, values: bins.map((bin) => bin.accuracy_low), isDashed: true },
        { label: "at most", colour: 5, values: bins.map((bin) => bin.accuracy_high), isDashed: true },
        { label: "as said", colour: 2, values: bins.map((bin) => bin.confidence) },
      ],
      coverage: risk_coverage.coverage,
      risk: [{ label: "wrong among the accepted", colour: 1, values: risk_coverage.risk }],
      // Where nothing is wrong, a chart without a range would reach to 10,000 %.
      risks: [0, Math.max(LEAST_RISK, ...risk_coverage.risk) * 1.05] as [number, number],
    };
  }, [curves]);
  const format = (value: number) => percent(value, 0);
  return (
    <>
      <p>
        Probability and share of right answers differ by {percent(reliability.ece)} on average
        {reliability_before && `, ${percent(reliability_before.ece)} before calibration`} (expected
        calibration error).
      </p>
      <div class="charts">
        <Chart
          title="How often it is right when it says so"
          x={drawn.confidence}
          xLabel="probability that it gives"
          yLabel="right"
          lines={drawn.right}
          range={[0, 1]}
          format={format}
        />
        <Chart
          title="Mistakes among the answers that are accepted"
          x={drawn.coverage}
          xLabel="share of images that are accepted"
          yLabel="wrong"
          lines={drawn.risk}
          range={drawn.risks}
          format={(value) => percent(value)}
        />
      </div>
    </>
  );
}

interface ClassFigures {
  name: string;
  precision: number | null;
  recall: number | null;
  f1: number | null;
  support: number;
}

function Classes({ evaluation }: { evaluation: Evaluation }) {
  const classes = evaluation.classes as unknown as ClassFigures[];
  const show = (value: number | null) => (value === null ? "–" : decimal(value));
  return (
    <section class="card">
      <h2>Each class</h2>
      <div class="scroll" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th>class</th>
              <th class="number">images</th>
              <th class="number">recall</th>
              <th class="number">precision</th>
              <th class="number">F1</th>
            </tr>
          </thead>
          <tbody>
            {classes.map(({ name, support, recall, precision, f1 }) => (
              <tr key={name}>
                <td>{name}</td>
                <td class="number">{support}</td>
                <td class="number">{show(recall)}</td>
                <td class="number">{show(precision)}</td>
                <td class="number">{show(f1)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="quiet small">
        Recall: of the images of a class, the share that is found. Precision: of the answers with its name,
        the share that is right.
      </p>
    </section>
  );
}
