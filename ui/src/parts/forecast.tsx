import type { ComponentChildren } from "preact";
import { api, ask, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { bytes, count, duration, percent } from "./numbers";

/** What a training would take and bring. It may take the server some seconds, so the plan does not wait for it. */
export function Forecast({ body }: { body: Schemas["JobCreate"] }) {
  const state = useAsk(
    async (signal) => {
      const answer = await ask(api.POST("/jobs", { params: { query: { dry_run: true } }, body, signal }));
      return (answer as Schemas["JobPlan"]).forecast;
    },
    [body],
  );
  const forecast = state.value;
  // What is wrong with the request is said beside the plan.
  if (state.error) return null;
  return (
    <section class="card" aria-live="polite" aria-busy={state.isLoading}>
      <h2>What it will take and bring</h2>
      {!forecast && <p>{state.isLoading ? "Estimating…" : "Nothing is known."}</p>}
      {forecast && (
        <>
          <dl class="facts">
            {forecast.time && (
              <Fact name="Time" of={forecast.time.seconds} as={duration}>
                {forecast.time.trainings_before > 0 &&
                  `, after ${count(forecast.time.trainings_before, "training")} before it`}
              </Fact>
            )}
            {forecast.memory && <Fact name="Memory" of={forecast.memory.bytes} as={bytes} />}
            {forecast.disk && (
              <div>
                <dt>Disk</dt>
                <dd>
                  {bytes(forecast.disk.running_bytes)} while it runs, {bytes(forecast.disk.kept_bytes)}{" "}
                  afterwards
                </dd>
              </div>
            )}
            {forecast.accuracy && (
              <>
                <Fact name="Test accuracy" of={forecast.accuracy.test} as={percent} />
                <Fact name="With twice the images" of={forecast.accuracy.twice_the_images} as={percent} />
              </>
            )}
          </dl>
          {forecast.unknown.map(({ what, why, command }) => (
            <p key={what}>
              Not known: {what}. {why}{" "}
              {command && (
                <>
                  This would tell: <code>{command}</code>
                </>
              )}
            </p>
          ))}
        </>
      )}
    </section>
  );
}

interface FactProps {
  name: string;
  of: Schemas["Range"];
  as: (value: number) => string;
  children?: ComponentChildren;
}

function Fact({ name, of, as, children }: FactProps) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class="share">
        {as(of.expected)}{" "}
        <span class="interval">
          ({as(of.low)} to {as(of.high)})
        </span>
        {children}
      </dd>
    </div>
  );
}
