/** `/ui/datasets/{dataset}`: what is in it, what is wrong, and how is it mended? */
import { useEffect, useState } from "preact/hooks";
import { useLocation, useRoute } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { type Asked as AskedState, useAsk } from "../api/use_ask";
import { Asked } from "../parts/asked";
import { Act } from "../parts/confirm";
import { ChangesBar, Classes, Difference } from "../parts/dataset_changes";
import { forgetEdits, useEdits } from "../parts/dataset_edits";
import { Delete, Export } from "../parts/dataset_exits";
import { DatasetFindings, examine, findingsOf } from "../parts/dataset_findings";
import { Empty } from "../parts/empty";
import { Gallery, listCommand } from "../parts/gallery";
import { GalleryChips } from "../parts/gallery_chips";
import {
  askForItems,
  type Filter,
  FLAGS,
  type Flag,
  type Item,
  isFiltered,
  readFilter,
  writeFilter,
} from "../parts/gallery_filter";
import { useGalleryPages } from "../parts/gallery_pages";
import { GalleryView } from "../parts/gallery_view";
import { JobWay } from "../parts/job_way";
import { isGoing } from "../parts/keys";
import { count } from "../parts/numbers";
import { Page } from "../parts/page";
import { ProblemText } from "../parts/problem";
import { State } from "../parts/state";
import { When } from "../parts/when";

type Dataset = Schemas["Dataset"];

export default function DatasetPage() {
  const { dataset } = useRoute().params as { dataset: string };
  const { url } = useLocation();
  const state = useAsk((signal) => gather(dataset, signal), ["dataset", dataset], {
    every: (value) => (value?.dataset.status === "importing" ? 1000 : null),
  });
  const found = state.value?.dataset;
  return (
    <Page
      title={found?.source ?? "Dataset"}
      crumbs={[
        ["Products", ""],
        ...(found ? [[found.product, `/products/${found.product}`] as [string, string]] : []),
      ]}
      actions={
        found?.status === "ready" && (
          <a class="button main" href={page(`/products/${found.product}/train?dataset=${dataset}`)}>
            Train on it
          </a>
        )
      }
      curl={[
        { what: "This dataset", curl: `{api}/datasets/${dataset}` },
        {
          what: "The images that are shown",
          curl: listCommand(dataset, readFilter(new URL(url, location.origin).search)),
        },
        { what: "What the import saw", curl: `{api}/datasets/${dataset}/report` },
        { what: "What the examination found", curl: `{api}/datasets/${dataset}/examination` },
        {
          what: "A new version",
          curl: `{api}/datasets/${dataset}/versions -H 'content-type: application/json' -d '{"remove": ["img_…"]}'`,
        },
      ]}
    >
      <Asked state={state} lines={12}>
        {(value) => <Standing key={dataset} value={value} state={state} />}
      </Asked>
    </Page>
  );
}

interface Gathered {
  dataset: Dataset;
  report?: Schemas["DatasetReport"];
  examination?: Schemas["ExaminationReport"];
  trainings: Schemas["Job"][];
}

async function gather(id: string, signal: AbortSignal): Promise<Gathered> {
  const params = { path: { dataset: id } };
  const dataset = await ask(api.GET("/datasets/{dataset}", { params, signal }));
  if (dataset.status !== "ready") return { dataset, trainings: [] };
  const [report, examination, jobs] = await Promise.all([
    ask(api.GET("/datasets/{dataset}/report", { params, signal })),
    dataset.examination ? ask(api.GET("/datasets/{dataset}/examination", { params, signal })) : undefined,
    ask(
      api.GET("/jobs", {
        params: { query: { dataset: id, kind: "training", status: "succeeded", limit: 20 } },
        signal,
      }),
    ),
  ]);
  return { dataset, report, examination, trainings: jobs.data };
}

function Standing({ value, state }: { value: Gathered; state: AskedState<Gathered> }) {
  const { dataset, report } = value;
  useEffect(() => {
    if (dataset.status === "ready" && dataset.based_on) forgetEdits(dataset.based_on, dataset.id);
  }, [dataset.status]);
  if (dataset.status === "importing")
    return (
      <section class="card">
        <h2>Not ready yet</h2>
        {dataset.job && (
          <JobWay job={dataset.job} words={dataset.based_on ? "The new version" : "The import"} />
        )}
      </section>
    );
  if (dataset.status === "failed" || report === undefined)
    return (
      <>
        {dataset.error && <ProblemText problem={dataset.error} />}
        <div class="row">
          {dataset.based_on && (
            <a class="button main" href={page(`/datasets/${dataset.based_on}`)}>
              Back to the dataset before, with your changes
            </a>
          )}
          <Delete dataset={dataset} />
        </div>
      </>
    );
  return <Ready {...value} report={report} changed={state.again} />;
}

interface ReadyProps extends Gathered {
  report: Schemas["DatasetReport"];
  changed: () => void;
}

function Ready({ dataset, report, examination, trainings, changed }: ReadyProps) {
  const edits = useEdits(dataset.id);
  const address = (filter: Filter, more: Record<string, string> = {}) => {
    const query = [writeFilter(filter), new URLSearchParams(more).toString()].filter(Boolean).join("&");
    return page(`/datasets/${dataset.id}${query && `?${query}`}`);
  };
  const findings = findingsOf(examination, report);
  return (
    <>
      {dataset.based_on && (
        <section class="card">
          <Difference before={dataset.based_on} after={dataset.id} />
        </section>
      )}
      {findings.length > 0 ? (
        <DatasetFindings dataset={dataset.id} findings={findings} href={address} />
      ) : (
        <p class="quiet">
          {nothingFound(dataset, examination !== undefined)} {!examination && NOT_EXAMINED}
        </p>
      )}
      <Shown dataset={dataset} trainings={trainings} edits={edits} address={address} />
      <div class="columns">
        <div>
          <Classes dataset={dataset} state={edits} />
        </div>
        <div>
          <About dataset={dataset} examination={examination} changed={changed} />
        </div>
      </div>
      <ChangesBar dataset={dataset.id} state={edits} />
    </>
  );
}

function nothingFound({ skipped }: Dataset, isExamined: boolean): string {
  if (skipped) return `${count(skipped, "file was", "files were")} left out by the import.`;
  return isExamined ? "Nothing stands out." : "The import found nothing wrong.";
}

const NOT_EXAMINED = "Nothing has looked at the images themselves yet: see below.";
/** Milliseconds until a place that was gone to stands in the address. */
const REST = 250;

interface ShownProps {
  dataset: Dataset;
  trainings: Schemas["Job"][];
  edits: ReturnType<typeof useEdits>;
  address: (filter: Filter, more?: Record<string, string>) => string;
}

/** The gallery. Its filter, the place and whether that image is large stand in the address. */
function Shown({ dataset, trainings, edits, address }: ShownProps) {
  const { url, route } = useLocation();
  const { search } = new URL(url, location.origin);
  const query = new URLSearchParams(search);
  const filter = readFilter(search);
  const key = writeFilter(filter);
  const isLarge = query.get("view") === "large";
  const [at, setAt] = useState(placeOf(query));
  const { pages } = useGalleryPages(dataset.id, filter);
  // The list may have become shorter since the address was written.
  const place = Math.min(at, Math.max(0, (pages.total ?? at + 1) - 1));

  useEffect(() => setAt(placeOf(query)), [url]);
  useEffect(() => {
    const timer = setTimeout(() => {
      // This page is still drawn while the script of the next one is loaded, whose address stands there then.
      if (location.pathname !== page(`/datasets/${dataset.id}`)) return;
      // Not by the router: nothing else of the page changes, and it would be drawn anew for each step.
      history.replaceState(null, "", address(filter, { ...placed(at), ...(isLarge ? LARGE : {}) }));
    }, REST);
    return () => clearTimeout(timer);
  }, [at, key, isLarge]);

  const act = (pressed: string, item: Item) => {
    if (isGoing()) return;
    if (pressed === "x") edits.toggle(item);
    else if (pressed === "s") {
      if (dataset.examination) route(address({ similar_to: item.id, job: filter.job, flags: [] }));
    } else {
      const chosen = dataset.classes[Number(pressed) - 1];
      if (chosen) edits.relabel(item, chosen.name);
    }
  };
  const flagged = useAsk((signal) => countFlags(dataset, signal), ["flags", dataset.id, dataset.examination]);
  return (
    <section class="gallery-section" aria-label="Gallery">
      <div class="title">
        <h2>{pages.total === undefined ? "Images" : count(pages.total, "image")}</h2>
        <span class="quiet small gallery-keys">
          <kbd>←↑↓→</kbd> move, <kbd>Enter</kbd> large, <kbd>1</kbd> to <kbd>9</kbd> class, <kbd>x</kbd> leave
          out
          {dataset.examination && (
            <>
              , <kbd>s</kbd> similar
            </>
          )}
        </span>
      </div>
      <GalleryChips
        dataset={dataset}
        trainings={trainings}
        flagged={flagged.value ?? {}}
        filter={filter}
        href={address}
        route={route}
      />
      {pages.total === 0 ? (
        <Empty title="No image fits all of these">
          <a class="button" href={address({ flags: [] })}>
            Show all images
          </a>
        </Empty>
      ) : (
        <Gallery
          key={key}
          dataset={dataset.id}
          pages={pages}
          at={place}
          edits={edits.edits}
          isWanted={isFiltered(filter) || place > 0}
          go={setAt}
          open={(one) => route(address(filter, { ...placed(one), ...LARGE }))}
          act={act}
        />
      )}
      {isLarge && pages.total !== 0 && (
        <GalleryView
          dataset={dataset}
          item={pages.at(place)}
          at={place}
          total={pages.total ?? at + 1}
          edits={edits}
          go={setAt}
          act={act}
          similar={(item) => address({ similar_to: item.id, job: filter.job, flags: [] })}
          nearGroup={(group) => address({ near_group: group, job: filter.job, flags: [] })}
          close={() => route(address(filter, placed(place)), true)}
        />
      )}
    </section>
  );
}

/** How many images each flag leaves, as far as anything has looked. */
async function countFlags(dataset: Dataset, signal: AbortSignal): Promise<Partial<Record<Flag, number>>> {
  const known = FLAGS.filter((flag) => dataset.examination || flag === "contradiction" || flag === "copy");
  const pages = await Promise.all(
    known.map((flag) => askForItems(dataset.id, { flags: [flag] }, 0, 1, signal)),
  );
  return Object.fromEntries(known.map((flag, at) => [flag, pages[at]?.total ?? 0]));
}

const LARGE = { view: "large" };

function placeOf(query: URLSearchParams): number {
  const place = Number(query.get("at"));
  return Number.isSafeInteger(place) && place > 0 ? place : 0;
}

function placed(at: number): Record<string, string> {
  return at > 0 ? { at: String(at) } : {};
}

interface AboutProps {
  dataset: Dataset;
  examination: Schemas["ExaminationReport"] | undefined;
  changed: () => void;
}

function About({ dataset, examination, changed }: AboutProps) {
  const [job, setJob] = useState<string>();
  return (
    <section class="card">
      <h2>This dataset</h2>
      <dl class="facts">
        <div>
          <dt>State</dt>
          <dd>
            <State of={dataset.status} />
          </dd>
        </div>
        <div>
          <dt>Made</dt>
          <dd>
            <When time={dataset.created_at} />
          </dd>
        </div>
        <div>
          <dt>Images</dt>
          <dd>{(dataset.items ?? 0).toLocaleString("en")}</dd>
        </div>
        <div>
          <dt>Files left out</dt>
          <dd>{dataset.skipped ?? 0}</dd>
        </div>
        <div>
          <dt>Id</dt>
          <dd>
            <code>{dataset.id}</code>
          </dd>
        </div>
      </dl>
      {examination?.missing && <p class="quiet">{examination.missing}</p>}
      {!examination && (
        <p class="quiet">
          An examination looks at the images: which show the same thing, which labels look wrong, what looks
          like nothing else.
        </p>
      )}
      {job && <JobWay job={job} words="The examination" done={changed} />}
      <div class="row">
        {(!examination || examination.missing) && (
          <Act words="Examine" act={async () => setJob((await examine(dataset.id)).id)} />
        )}
        <Export dataset={dataset.id} />
        <Delete dataset={dataset} />
      </div>
    </section>
  );
}
