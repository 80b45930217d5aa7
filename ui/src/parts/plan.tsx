import { api, ask, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { count, decimal } from "./numbers";
import { Problem } from "./problem";

/** What a training would do, before it is started: the server resolves it, and starts nothing. */
export function Plan({ body }: { body: Schemas["JobCreate"] }) {
  const state = useAsk(
    async (signal) => {
      const query = { dry_run: true, forecast: false };
      const answer = await ask(api.POST("/jobs", { params: { query }, body, signal }));
      return answer as Schemas["JobPlan"];
    },
    [body],
  );
  const plan = state.value;
  const counts = plan?.split.counts as Record<string, number> | null | undefined;
  return (
    <section class="card" aria-live="polite">
      <h2>What it will do</h2>
      {state.error && <Problem error={state.error} />}
      {plan && (
        <>
          <p>
            {plan.network}
            {counts &&
              `: learns from ${count(counts.train ?? 0, "image")}, chooses by ${counts.valid ?? 0}, is tested on ${counts.test ?? 0} that it never saw`}
            .
          </p>
          <dl class="facts">
            {SHOWN.map((name) => (
              <div key={name}>
                <dt>{name.replaceAll("_", " ")}</dt>
                <dd>{inWords(plan.hyperparameters[name])}</dd>
              </div>
            ))}
          </dl>
        </>
      )}
    </section>
  );
}

const SHOWN = ["pretrained", "epochs", "batch_size", "image_size", "learning_rate", "augmentation"];

function inWords(value: unknown): string {
  if (typeof value === "number") return decimal(value, 6);
  return value === null || value === undefined ? "–" : String(value);
}
