/** `/ui/products/{product}`: how good is it, may I trust it, and what is this picture? */
import { useRoute } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { askMoves } from "../api/moves";
import { useAsk } from "../api/use_ask";
import { Ask } from "../parts/ask";
import { Asked } from "../parts/asked";
import { AskedAbout } from "../parts/asked_about";
import { Empty } from "../parts/empty";
import { Band, estimateOf, Share } from "../parts/estimate";
import { count, percent } from "../parts/numbers";
import { Page } from "../parts/page";
import { ProductSettings } from "../parts/product_settings";
import { RollBack } from "../parts/roll_back";
import { State } from "../parts/state";
import { When } from "../parts/when";

export default function Product() {
  const { product } = useRoute().params as { product: string };
  const state = useAsk((signal) => gather(product, signal), [product], {
    every: (value) => (value?.jobs.some((job) => isActive(job.status)) ? 3000 : 20000),
  });
  const first = state.value?.datasets[0];
  return (
    <Page
      title={state.value?.product.name ?? product}
      crumbs={[["Products", ""]]}
      actions={
        <>
          <a class="button" href={page(`/products/${product}/import`)}>
            Import images
          </a>
          <a class={first ? "button main" : "button"} href={page(`/products/${product}/train`)}>
            Train
          </a>
        </>
      }
      curl={[
        { what: "This product", curl: `{api}/products/${product}` },
        { what: "Ask it", curl: `-F product=${product} -F file=@image.jpg {api}/predict` },
        { what: "What it was asked about", curl: `{api}/products/${product}/prediction-counts` },
        { what: "Its datasets", curl: `{api}/products/${product}/datasets` },
        { what: "Its trainings", curl: `'{api}/jobs?product=${product}&kind=training'` },
      ]}
    >
      <Asked state={state} lines={10}>
        {({ product, champion, datasets, jobs, models, moves }) => (
          <div class="columns">
            <div>
              <section class="card">
                <h2>How good it is</h2>
                {champion ? (
                  <Standing model={champion.model} items={champion.items} product={product} />
                ) : (
                  <NotTrained product={product.id} hasImages={datasets.length > 0} />
                )}
              </section>
              {champion && (
                <section class="card">
                  <h2>What is this?</h2>
                  <Ask product={product.id} />
                </section>
              )}
              {champion && <AskedAbout product={product.id} />}
            </div>
            <div>
              <Champion product={product} models={models} moves={moves} changed={state.again} />
              <Datasets datasets={datasets} product={product.id} />
              <Jobs jobs={jobs} product={product.id} />
              <ProductSettings product={product} changed={state.again} />
            </div>
          </div>
        )}
      </Asked>
    </Page>
  );
}

function isActive(status: string): boolean {
  return status === "running" || status === "queued";
}

async function gather(id: string, signal: AbortSignal) {
  const path = { product: id };
  const product = await ask(api.GET("/products/{product}", { params: { path }, signal }));
  const [models, jobs, datasets, moves] = await Promise.all([
    ask(api.GET("/models", { params: { query: { product: id, limit: 5 } }, signal })),
    ask(api.GET("/jobs", { params: { query: { product: id, limit: 6 } }, signal })),
    ask(api.GET("/products/{product}/datasets", { params: { path, query: { limit: 5 } }, signal })),
    // A name that never stood for a model has no history.
    product.champion === null ? { data: [] } : askMoves(id, 2, signal),
  ]);
  let champion: { model: Schemas["Model"]; items: number | undefined } | null = null;
  if (product.champion) {
    const model =
      models.data.find((one) => one.id === product.champion) ??
      (await ask(api.GET("/models/{model}", { params: { path: { model: product.champion } }, signal })));
    champion = { model, items: (model.serving.parity as { items?: number } | undefined)?.items };
  }
  return {
    product,
    champion,
    models: models.data,
    jobs: jobs.data,
    datasets: datasets.data,
    moves: moves.data,
  };
}

function Standing({
  model,
  items,
  product,
}: {
  model: Schemas["Model"];
  items: number | undefined;
  product: Schemas["Product"];
}) {
  const accuracy = estimateOf(model.metrics, "accuracy");
  return (
    <>
      {accuracy && (
        <>
          <p class="answer">{percent(accuracy.value)} right</p>
          <p>
            <Share of={accuracy} /> {items !== undefined && `on ${count(items, "image")} that it never saw.`}
          </p>
          <Band of={accuracy} />
        </>
      )}
      <p>{promiseInWords(model, product)}</p>
      <p class="quiet small">
        {model.network}, version {model.version}, <code>{model.id}</code>
      </p>
    </>
  );
}

/** What its accepted answers are promised to be, and what that would take. */
function promiseInWords(model: Schemas["Model"], product: Schemas["Product"]): string {
  const { promise } = model;
  if (promise === null) return "Its answers have no decision: it was made by an older Loupe.";
  const wished = percent(product.promise.max_error ?? 0);
  if (promise.promised === null)
    return `It can promise nothing about its accepted answers yet: that takes more validation images.`;
  const taken = `It accepts ${percent(promise.coverage ?? 0, 0)} of images like those it was tested on`;
  if (promise.promised <= (product.promise.max_error ?? 0))
    return `${taken}, and promises that at most ${percent(promise.promised)} of the accepted are wrong.`;
  const needed = promise.images_needed ? ` About ${count(promise.images_needed, "image")} would tell.` : "";
  return `${taken}. It promises at most ${percent(promise.promised)} wrong among them; you asked for ${wished}.${needed}`;
}

function NotTrained({ product, hasImages }: { product: string; hasImages: boolean }) {
  return hasImages ? (
    <Empty title="No model answers yet">
      <p>Train one on the images: it becomes the champion, which answers predictions.</p>
      <a class="button main" href={page(`/products/${product}/train`)}>
        Train
      </a>
    </Empty>
  ) : (
    <Empty title="No images yet">
      <p>Give it images of each class: a folder with one folder a class, or a zip of it.</p>
      <a class="button main" href={page(`/products/${product}/import`)}>
        Import images
      </a>
    </Empty>
  );
}

interface ChampionProps {
  product: Schemas["Product"];
  models: Schemas["Model"][];
  moves: Schemas["AliasMove"][];
  changed: () => void;
}

function Champion({ product, models, moves, changed }: ChampionProps) {
  const [move] = moves;
  if (models.length === 0) return null;
  return (
    <section class="card">
      <h2>Models</h2>
      <ul class="links">
        {models.map((model) => {
          const accuracy = estimateOf(model.metrics, "accuracy");
          return (
            <li key={model.id}>
              <a href={page(`/jobs/${model.job}`)}>Version {model.version}</a>
              {model.aliases.map((alias) => (
                <b key={alias}>{alias}</b>
              ))}
              <span class="end">{accuracy && <Share of={accuracy} />}</span>
            </li>
          );
        })}
      </ul>
      {move?.reason && (
        <p class="quiet small">
          Champion since <When time={move.moved_at} />: {move.reason}
        </p>
      )}
      <div class="row">
        <a class="button" href={page(`/products/${product.id}/models`)}>
          Compare models
        </a>
        {move?.from_model && move.to_model && <RollBack product={product.id} changed={changed} />}
      </div>
    </section>
  );
}

function Datasets({ datasets, product }: { datasets: Schemas["Dataset"][]; product: string }) {
  return (
    <section class="card">
      <h2>Datasets</h2>
      {datasets.length === 0 ? (
        <p class="quiet">None yet.</p>
      ) : (
        <ul class="links">
          {datasets.map((dataset) => (
            <li key={dataset.id}>
              <a href={page(`/datasets/${dataset.id}`)}>{dataset.source}</a>
              {dataset.status !== "ready" && <State of={dataset.status} />}
              <span class="end quiet">
                {dataset.items !== null && count(dataset.items, "image")}
                {dataset.classes.length > 0 && `, ${count(dataset.classes.length, "class", "classes")}`}
              </span>
            </li>
          ))}
        </ul>
      )}
      <div class="row">
        <a class="button" href={page(`/products/${product}/import`)}>
          Import images
        </a>
      </div>
    </section>
  );
}

function Jobs({ jobs, product }: { jobs: Schemas["Job"][]; product: string }) {
  const trainings = jobs.filter((job) => job.kind === "training").slice(0, 4);
  return (
    <section class="card">
      <h2>Jobs</h2>
      {jobs.length === 0 ? (
        <p class="quiet">None yet.</p>
      ) : (
        <ul class="links">
          {jobs.map((job) => (
            <li key={job.id}>
              <a href={page(`/jobs/${job.id}`)}>
                {job.kind.replace("_", " ")}
                {job.network && ` of ${job.network}`}
              </a>
              <State of={job.status} />
              <span class="end quiet">
                <When time={job.created_at} />
              </span>
            </li>
          ))}
        </ul>
      )}
      {trainings.length > 1 && (
        <div class="row">
          <a
            class="button"
            href={page(`/compare?product=${product}&jobs=${trainings.map((job) => job.id).join(",")}`)}
          >
            Compare trainings
          </a>
        </div>
      )}
    </section>
  );
}
