import { api, ask, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "./asked";
import { count } from "./numbers";

const DAYS = 30;
const LOOK = 30_000;
const HEIGHT = 40;

type Day = Schemas["PredictionDay"];

/** How many images a product was asked about, day by day. */
export function AskedAbout({ product }: { product: string }) {
  const state = useAsk((signal) => askForDays(product, DAYS, signal), ["asked about", product], {
    every: () => LOOK,
  });
  return (
    <section class="card">
      <h2>Asked about</h2>
      <Asked state={state} lines={3}>
        {(days) => {
          const { images, rejected } = sum(days);
          if (images === 0) return <p class="quiet">No image in the last {DAYS} days.</p>;
          return (
            <>
              <p>
                {count(images, "image")} in {DAYS} days
                {rejected > 0 && `, of which ${rejected.toLocaleString("en")} rejected`};{" "}
                {days.at(-1)?.images.toLocaleString("en")} today
              </p>
              <Bars days={days} />
            </>
          );
        }}
      </Asked>
    </section>
  );
}

export async function askForDays(product: string, days: number, signal: AbortSignal): Promise<Day[]> {
  const params = { path: { product }, query: { days } };
  const { data } = await ask(api.GET("/products/{product}/prediction-counts", { params, signal }));
  return data;
}

export function sum(days: Day[]): { images: number; rejected: number } {
  return days.reduce(
    (total, day) => ({ images: total.images + day.images, rejected: total.rejected + day.rejected }),
    { images: 0, rejected: 0 },
  );
}

/** A bar a day; what a bar is of, says its title. The table below says the same without a pointer. */
function Bars({ days }: { days: Day[] }) {
  const most = Math.max(...days.map((day) => day.images), 1);
  return (
    <>
      <svg
        class="days"
        viewBox={`0 0 ${days.length * 10} ${HEIGHT}`}
        preserveAspectRatio="none"
        aria-hidden="true"
      >
        {days.map((day, at) => {
          const high = (day.images / most) * (HEIGHT - 1);
          return (
            <rect key={day.day} x={at * 10 + 1} y={HEIGHT - 1 - high} width={8} height={high + 1}>
              <title>{`${day.day}: ${count(day.images, "image")}`}</title>
            </rect>
          );
        })}
      </svg>
      <details>
        <summary>Each day</summary>
        <div class="scroll" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th>day (UTC)</th>
                <th class="number">images</th>
                <th class="number">answered</th>
                <th class="number">rejected</th>
              </tr>
            </thead>
            <tbody>
              {days
                .filter((day) => day.images > 0)
                .reverse()
                .map((day) => (
                  <tr key={day.day}>
                    <td>{day.day}</td>
                    <td class="number">{day.images.toLocaleString("en")}</td>
                    <td class="number">{day.answered.toLocaleString("en")}</td>
                    <td class="number">{day.rejected.toLocaleString("en")}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      </details>
    </>
  );
}
