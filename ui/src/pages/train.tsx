/** `/ui/products/{product}/train`: what will it cost, what will I get? */

import { useState } from "preact/hooks";
import { useLocation, useRoute } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { useAct } from "../api/use_act";
import { useAsk } from "../api/use_ask";
import { Asked } from "../parts/asked";
import { Empty } from "../parts/empty";
import { Fields, type Values } from "../parts/fields";
import { Forecast } from "../parts/forecast";
import { count } from "../parts/numbers";
import { Page } from "../parts/page";
import { Plan } from "../parts/plan";
import { Problem } from "../parts/problem";

type Method = "linear" | "fine_tune" | "sweep";

const METHODS: [Method, string, string][] = [
  [
    "linear",
    "Quick",
    "Seconds to a minute. A pretrained network looks at each image, and only what tells the classes apart is learned.",
  ],
  [
    "fine_tune",
    "Thorough",
    "Minutes and more. The whole network learns, from pretrained weights where they are here.",
  ],
  [
    "sweep",
    "Many networks in one go",
    "Hours. The losers stop early; the best one is tested and becomes a model.",
  ],
];

export default function Train() {
  const { product } = useRoute().params as { product: string };
  const { query } = useLocation();
  const state = useAsk((signal) => gather(product, signal), [product]);
  return (
    <Page
      title="New training"
      crumbs={[
        ["Products", ""],
        [product, `/products/${product}`],
      ]}
      curl={[
        {
          what: "Start a training",
          curl: `-X POST {api}/jobs -H 'content-type: application/json' -d '{"product": "${product}"}'`,
        },
        {
          what: "Only what it would do",
          curl: `-X POST '{api}/jobs?dry_run=true' -H 'content-type: application/json' -d '{"product": "${product}"}'`,
        },
        { what: "The networks", curl: "{api}/networks" },
      ]}
    >
      <Asked state={state} lines={10}>
        {(found) =>
          found.datasets.length === 0 ? (
            <Empty title="No images yet">
              <p>A training learns from images of each class.</p>
              <a class="button main" href={page(`/products/${product}/import`)}>
                Import images
              </a>
            </Empty>
          ) : (
            <Form {...found} wished={query.dataset} />
          )
        }
      </Asked>
    </Page>
  );
}

async function gather(id: string, signal: AbortSignal) {
  const path = { product: id };
  const [product, datasets, networks] = await Promise.all([
    ask(api.GET("/products/{product}", { params: { path }, signal })),
    ask(api.GET("/products/{product}/datasets", { params: { path, query: { limit: 100 } }, signal })),
    ask(api.GET("/networks", { signal })),
  ]);
  return { product, datasets: datasets.data.filter(({ status }) => status !== "failed"), networks };
}

interface FormProps {
  product: Schemas["Product"];
  datasets: Schemas["Dataset"][];
  networks: Schemas["Network"][];
  wished: string | undefined;
}

function Form({ product, datasets, networks, wished }: FormProps) {
  const { route } = useLocation();
  const [dataset, setDataset] = useState(wished ?? datasets[0]?.id ?? "");
  const [method, setMethod] = useState<Method>("fine_tune");
  const [network, setNetwork] = useState("");
  const [hours, setHours] = useState("2");
  const [settings, setSettings] = useState<Values>({});
  const body = {
    product: product.id,
    dataset,
    ...(network && method !== "sweep" ? { network } : {}),
    hyperparameters: { ...settings, ...(method === "linear" ? { method } : {}) },
  } as Schemas["JobCreate"];
  const { go, error, isBusy } = useAct(async () => {
    if (method === "sweep") {
      const sweep = await ask(
        api.POST("/sweeps", {
          body: { ...body, budget_seconds: Number(hours) * 3600 } as Schemas["SweepCreate"],
        }),
      );
      route(page(`/sweeps/${sweep.id}`));
      return;
    }
    const job = await ask(api.POST("/jobs", { body }));
    route(page(`/jobs/${(job as Schemas["Job"]).id}`));
  });
  return (
    <form
      class="columns"
      onSubmit={(event) => {
        event.preventDefault();
        void go();
      }}
    >
      <div>
        <section class="card">
          <label>
            Images
            <select value={dataset} onChange={(event) => setDataset(event.currentTarget.value)}>
              {datasets.map((one) => (
                <option key={one.id} value={one.id}>
                  {one.source}
                  {one.items === null ? ", importing" : `, ${count(one.items, "image")}`}
                </option>
              ))}
            </select>
          </label>
          <fieldset class="choices">
            <legend>How</legend>
            {METHODS.map(([value, words, help]) => (
              <label key={value} class="choice">
                <input
                  type="radio"
                  name="method"
                  checked={method === value}
                  onChange={() => setMethod(value)}
                />
                <span>
                  <b>{words}</b>
                  <span class="help">{help}</span>
                </span>
              </label>
            ))}
          </fieldset>
          {method === "sweep" ? (
            <label>
              Hours that it may take
              <input
                type="number"
                min="0.05"
                step="any"
                required
                value={hours}
                onInput={(event) => setHours(event.currentTarget.value)}
              />
              <span class="help">As many networks are tried as it is enough for.</span>
            </label>
          ) : (
            <Networks product={product} networks={networks} value={network} change={setNetwork} />
          )}
          <Folded settings={settings} change={setSettings} />
        </section>
      </div>
      <div>
        {method !== "sweep" && (
          <>
            <Plan body={body} />
            <Forecast body={body} />
          </>
        )}
        <section class="card">
          {error && <Problem error={error} />}
          <button type="submit" class="main" disabled={isBusy}>
            Start the {method === "sweep" ? "sweep" : "training"}
          </button>
          <p class="help">You can watch it, pause it, or stop it and keep what it has learned.</p>
        </section>
      </div>
    </form>
  );
}

function Networks({
  product,
  networks,
  value,
  change,
}: {
  product: Schemas["Product"];
  networks: Schemas["Network"][];
  value: string;
  change: (name: string) => void;
}) {
  const groups: [string, Schemas["Network"][]][] = [
    ["With weights that are here", networks.filter(({ weights }) => weights?.is_here)],
    [
      "With weights that must be fetched first",
      networks.filter(({ weights }) => weights && !weights.is_here),
    ],
    ["Without weights", networks.filter(({ weights }) => !weights)],
  ];
  return (
    <label>
      Network
      <select value={value} onChange={(event) => change(event.currentTarget.value)}>
        <option value="">{product.default_network ?? "the usual one"}</option>
        {groups
          .filter(([, members]) => members.length > 0)
          .map(([words, members]) => (
            <optgroup key={words} label={words}>
              {members.map(({ name, speed }) => (
                <option key={name} value={name}>
                  {name}
                  {speed && `, ${speed.serving_ms} ms an image`}
                </option>
              ))}
            </optgroup>
          ))}
      </select>
    </label>
  );
}

/** All other settings: loaded when they are opened. */
function Folded({ settings, change }: { settings: Values; change: (values: Values) => void }) {
  const [isOpen, setOpen] = useState(false);
  const changed = Object.keys(settings).length;
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>All settings{changed > 0 && `, ${changed} changed`}</summary>
      {isOpen && <Fields of="Hyperparameters" without={["method"]} values={settings} change={change} />}
    </details>
  );
}
