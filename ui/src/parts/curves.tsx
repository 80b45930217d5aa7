import { useMemo } from "preact/hooks";
import { api, ask, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "./asked";
import { Chart } from "./chart";
import { isActive } from "./job_progress";
import { decimal, percent } from "./numbers";

const POINTS = 600;
const LOOK = 2000;

/** The curves of a training, while it runs and afterwards. */
export function Curves({ job }: { job: Schemas["Job"] }) {
  const state = useAsk(
    (signal) =>
      ask(
        api.GET("/jobs/{job}/metrics", {
          params: { path: { job: job.id }, query: { max_points: POINTS } },
          signal,
        }),
      ),
    [job.id, isActive(job)],
    { every: () => (isActive(job) ? LOOK : null) },
  );
  return (
    <section class="card">
      <h2>Curves</h2>
      <Asked state={state} lines={10}>
        {(metrics) =>
          metrics.epochs.length === 0 && metrics.steps.length === 0 ? (
            <p class="quiet">
              {isActive(job)
                ? "They begin with the first step."
                : "This training has none: no step was made."}
            </p>
          ) : (
            <Drawn metrics={metrics} />
          )
        }
      </Asked>
    </section>
  );
}

function Drawn({ metrics }: { metrics: Schemas["JobMetrics"] }) {
  const { epochs, steps } = metrics;
  const drawn = useMemo(
    () => ({
      epoch: epochs.map(({ epoch }) => epoch),
      accuracy: [
        { label: "validation", colour: 0, values: epochs.map((one) => one.valid_accuracy ?? null) },
        {
          label: "training",
          colour: 1,
          values: epochs.map((one) => one.train_accuracy ?? null),
          isDashed: true,
        },
      ],
      loss: [
        { label: "validation", colour: 0, values: epochs.map((one) => one.valid_loss ?? null) },
        { label: "training", colour: 1, values: epochs.map((one) => one.train_loss ?? null), isDashed: true },
      ],
      step: steps.map(({ step }) => step),
      stepLoss: [{ label: "loss of the batch", colour: 1, values: steps.map(({ loss }) => loss) }],
      rate: [{ label: "learning rate", colour: 2, values: steps.map((one) => one.learning_rate) }],
    }),
    [epochs, steps],
  );
  return (
    <>
      {epochs.length > 0 && (
        <div class="charts">
          <Chart
            title="Accuracy"
            x={drawn.epoch}
            xLabel="epoch"
            yLabel="accuracy"
            lines={drawn.accuracy}
            format={(value) => percent(value)}
            sync="epochs"
          />
          <Chart title="Loss" x={drawn.epoch} xLabel="epoch" yLabel="loss" lines={drawn.loss} sync="epochs" />
        </div>
      )}
      {steps.length > 1 && (
        <details open={epochs.length === 0}>
          <summary>Each step: loss and learning rate</summary>
          <div class="charts">
            <Chart
              title="Loss of each step"
              x={drawn.step}
              xLabel="step"
              yLabel="loss"
              lines={drawn.stepLoss}
              sync="steps"
            />
            <Chart
              title="Learning rate"
              x={drawn.step}
              xLabel="step"
              yLabel="learning rate"
              lines={drawn.rate}
              format={(value) => decimal(value, 2)}
              sync="steps"
            />
          </div>
        </details>
      )}
    </>
  );
}
