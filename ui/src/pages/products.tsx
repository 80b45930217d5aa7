/** `/ui`: which of my products needs me? */

import { useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "../parts/asked";
import { askForDays, sum } from "../parts/asked_about";
import { Confirm } from "../parts/confirm";
import { Empty } from "../parts/empty";
import { Band, estimateOf, Share } from "../parts/estimate";
import { count } from "../parts/numbers";
import { Page } from "../parts/page";
import { Sparkline } from "../parts/sparkline";
import { State } from "../parts/state";
import { When } from "../parts/when";

const PAGE_SIZE = 24;
/** Milliseconds until the list is asked for again: a first champion may have come. */
const LOOK = 30_000;
/** Trainings on a card's line. */
const LAST = 12;

export default function Products() {
  const { query } = useLocation();
  const after = query.after;
  const state = useAsk(
    (signal) => ask(api.GET("/products", { params: { query: { limit: PAGE_SIZE, after } }, signal })),
    ["products", after],
    { every: () => LOOK },
  );
  // Where there is none, the button stands in the middle of the page.
  const isEmpty = state.value?.data.length === 0 && !after;
  return (
    <Page
      title="Products"
      actions={isEmpty ? undefined : <NewProduct />}
      curl={[
        { what: "The products", curl: "{api}/products" },
        {
          what: "A new one",
          curl: `-X POST {api}/products -H 'content-type: application/json' -d '{"id": "screws"}'`,
        },
      ]}
    >
      <Asked state={state} lines={6}>
        {({ data, next_cursor }) => (
          <>
            {isEmpty && (
              <Empty title="No product yet">
                <p>A product is something whose images are told apart, such as a part or a station.</p>
                <NewProduct />
              </Empty>
            )}
            <ul class="cards">
              {data.map((product) => (
                <Card key={product.id} product={product} />
              ))}
            </ul>
            <div class="row">
              {after && (
                <a class="button" href={page("")}>
                  First page
                </a>
              )}
              {next_cursor && (
                <a class="button" href={page(`?after=${next_cursor}`)}>
                  More products
                </a>
              )}
            </div>
          </>
        )}
      </Asked>
    </Page>
  );
}

function Card({ product }: { product: Schemas["Product"] }) {
  const state = useAsk((signal) => gather(product, signal), [product.id, product.champion], {
    every: (value) => (value?.running ? 5000 : 30000),
  });
  return (
    <li class="card">
      <div class="title">
        <h2>
          <a href={page(`/products/${product.id}`)}>{product.name}</a>
        </h2>
        {state.value && <State of={standing(product, state.value)} />}
      </div>
      <Asked state={state} lines={4}>
        {({ champion, accuracies, images, last, week }) => (
          <>
            {champion?.accuracy ? (
              <>
                <p class="large">
                  <Share of={champion.accuracy} />
                </p>
                <Band of={champion.accuracy} />
                <p class="quiet small">
                  {champion.network}, version {champion.version}
                </p>
              </>
            ) : (
              <p class="quiet">No model answers yet.</p>
            )}
            <Sparkline values={accuracies} label="Test accuracy of the last trainings" />
            <p class="quiet small">
              {images === null ? "No images yet" : count(images, "image")}
              {last && (
                <>
                  , last training <When time={last} />
                </>
              )}
            </p>
            {champion && <p class="quiet small">{count(week, "image")} asked about in 7 days</p>}
          </>
        )}
      </Asked>
    </li>
  );
}

interface Gathered {
  champion: { accuracy: ReturnType<typeof estimateOf>; network: string; version: number } | null;
  /** Of the newest models, oldest first. */
  accuracies: number[];
  images: number | null;
  running: boolean;
  last: string | undefined;
  /** Images asked about in the last seven days. */
  week: number;
}

async function gather(product: Schemas["Product"], signal: AbortSignal): Promise<Gathered> {
  const query = { product: product.id };
  const [models, jobs, datasets, days] = await Promise.all([
    ask(api.GET("/models", { params: { query: { ...query, limit: LAST } }, signal })),
    ask(api.GET("/jobs", { params: { query: { ...query, kind: "training", limit: 1 } }, signal })),
    ask(
      api.GET("/products/{product}/datasets", {
        params: { path: { product: product.id }, query: { limit: 1 } },
        signal,
      }),
    ),
    askForDays(product.id, 7, signal),
  ]);
  const [job] = jobs.data;
  let model = models.data.find((one) => one.id === product.champion);
  if (!model && product.champion) {
    const path = { model: product.champion };
    model = await ask(api.GET("/models/{model}", { params: { path }, signal }));
  }
  return {
    champion: model
      ? { accuracy: estimateOf(model.metrics, "accuracy"), network: model.network, version: model.version }
      : null,
    accuracies: models.data.map((one) => estimateOf(one.metrics, "accuracy")?.value ?? 0).reverse(),
    images: datasets.data[0]?.items ?? null,
    running: job?.status === "running" || job?.status === "queued",
    last: job?.created_at,
    week: sum(days).images,
  };
}

function standing(product: Schemas["Product"], { images, running }: Gathered): string {
  if (running) return "training";
  if (product.champion) return "serving";
  return images === null ? "empty" : "untrained";
}

function NewProduct() {
  const { route } = useLocation();
  const [name, setName] = useState("");
  const id = idOf(name);
  return (
    <Confirm
      button="New product"
      title="New product"
      confirm="Make it"
      kind="main"
      act={async () => {
        await ask(api.POST("/products", { body: { id, name: name.trim() } }));
        route(page(`/products/${id}`));
      }}
    >
      <label>
        Name
        <input
          value={name}
          required
          maxLength={200}
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <span class="help">{id ? `Programs call it ${id}.` : "Such as M4 screws."}</span>
      </label>
    </Confirm>
  );
}

/** What programs call a product: lower-case letters, digits and dashes of its name. */
function idOf(name: string): string {
  return name
    .normalize("NFKD")
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, "")
    .slice(0, 63);
}
