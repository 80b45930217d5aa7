/** `/ui/products/{product}/import`: did it take my images, are they any good? */
import { useEffect, useRef, useState } from "preact/hooks";
import { useLocation, useRoute } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { readChosen, readDropped } from "../api/dropped";
import { fingerprintOf } from "../api/fingerprint";
import { type Found, pack } from "../api/pack";
import { countFolders, inClass, type Sorted, sort } from "../api/plan";
import type { Cargo } from "../api/send";
import { useAsk } from "../api/use_ask";
import { Asked } from "../parts/asked";
import { Drop } from "../parts/drop";
import { Imported } from "../parts/imported";
import { bytes, count } from "../parts/numbers";
import { Page } from "../parts/page";
import { ProblemText } from "../parts/problem";
import { Sending } from "../parts/sending";

type Formats = Schemas["Formats"];

export default function Import() {
  const { product } = useRoute().params as { product: string };
  const { dataset } = useLocation().query;
  const { route } = useLocation();
  const here = `/products/${product}/import`;
  const formats = useAsk((signal) => ask(api.GET("/formats", { signal })), []);
  return (
    <Page
      title="Import images"
      crumbs={[
        ["Products", ""],
        [product, `/products/${product}`],
      ]}
      curl={[
        { what: "A zip of class folders", curl: `-F file=@images.zip {api}/products/${product}/datasets` },
        { what: "What an import reads", curl: "{api}/formats" },
        ...(dataset
          ? [
              { what: "This dataset", curl: `{api}/datasets/${dataset}` },
              { what: "What the import saw", curl: `{api}/datasets/${dataset}/report` },
              { what: "What is wrong with it", curl: `{api}/datasets/${dataset}/examination` },
            ]
          : []),
      ]}
    >
      {dataset ? (
        <Imported key={dataset} product={product} dataset={dataset} />
      ) : (
        <Asked state={formats} lines={8}>
          {(read) => (
            <Choosing
              formats={read}
              product={product}
              sent={({ id }) => route(page(`${here}?dataset=${id}`))}
            />
          )}
        </Asked>
      )}
    </Page>
  );
}

interface ChoosingProps {
  formats: Formats;
  product: string;
  sent: (dataset: Schemas["Dataset"]) => void;
}

/** Images of one class that came without a folder. */
interface Group {
  name: string;
  files: Found[];
}

function Choosing({ formats, product, sent }: ChoosingProps) {
  const [sorted, setSorted] = useState<Sorted>();
  const [groups, setGroups] = useState<Group[]>([]);
  const [isReading, setReading] = useState(false);
  const [cargo, setCargo] = useState<Cargo>();
  const take = async (coming: Promise<Found[]> | Found[]) => {
    setReading(true);
    try {
      const read = await sort(await coming, formats);
      setSorted(read);
      setGroups((old) => (read.loose.length > 0 ? [...old, { name: "", files: read.loose }] : []));
    } catch {
      setSorted({ ...NOTHING, problem: UNREADABLE });
    } finally {
      setReading(false);
    }
  };
  const startAnew = () => {
    setSorted(undefined);
    setGroups([]);
    setCargo(undefined);
  };
  if (cargo) return <Sending cargo={cargo} product={product} sent={sent} leave={startAnew} />;
  const isChosen = sorted !== undefined && !sorted.problem;
  return (
    <>
      <Drop
        words={
          groups.length > 0
            ? "Drop the images of the next class here, or"
            : "Drop a folder, an archive or images here, or"
        }
        button="Choose files"
        folderButton="Choose a folder"
        isMultiple
        isDisabled={isReading}
        onFiles={(files) => void take(readChosen(files))}
        onDropped={(transfer) => void take(readDropped(transfer))}
      >
        {!sorted && !isReading && <HowItLooks />}
      </Drop>
      <div aria-live="polite">
        {isReading && <p class="quiet">Looking at the files…</p>}
        {sorted?.problem && <ProblemText problem={sorted.problem} />}
      </div>
      {isChosen && groups.length === 0 && (
        <Plan
          sorted={sorted}
          formats={formats}
          cancel={startAnew}
          go={() => setCargo(cargoOf(sorted, product))}
        />
      )}
      {groups.length > 0 && (
        <Classes
          groups={groups}
          change={setGroups}
          cancel={startAnew}
          go={() => setCargo(packed(`${product}.tar`, filesOf(groups)))}
        />
      )}
      {isChosen && <LeftOut sorted={sorted} />}
    </>
  );
}

const TAR = "application/x-tar";
const NOTHING: Sorted = { inFolders: [], loose: [], leftOut: new Map(), others: [] };
const UNREADABLE = {
  title: "Your browser could not read it.",
  hint: "Is the folder still there, and may you read it? Drop it once more.",
};

function cargoOf({ archive, inFolders }: Sorted, product: string): Cargo {
  if (archive) {
    const { file, mediaType } = archive;
    const fingerprint = fingerprintOf(file.name, [{ path: "", file }]);
    return { body: file, name: file.name, mediaType, fingerprint };
  }
  const tops = new Set(inFolders.map(({ path }) => path.split("/")[0]));
  const name = tops.size === 1 ? [...tops][0] : product;
  return packed(`${name}.tar`, inFolders);
}

function packed(name: string, files: Found[]): Cargo {
  // A folder's files come in any order: the same ones are to be the same bytes.
  const inOrder = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  return { body: pack(inOrder), name, mediaType: TAR, fingerprint: fingerprintOf(name, inOrder) };
}

function filesOf(groups: Group[]): Found[] {
  const taken = new Set<string>();
  return groups.flatMap(({ name, files }) => inClass(name, files, taken));
}

function HowItLooks() {
  return (
    <div class="layout-help">
      <pre>
        {"images/\n  scratch/   0001.jpg 0002.jpg …\n  dent/      0001.jpg …\n  good/      0001.jpg …"}
      </pre>
      <p class="quiet small">
        One folder a class, whatever their names. Folders train, valid and test around them are kept as they
        are. A table such as labels.csv may say the classes instead. Nothing is sent before you say so.
      </p>
    </div>
  );
}

interface PlanProps {
  sorted: Sorted;
  formats: Formats;
  cancel: () => void;
  go: () => void;
}

const SHOWN_FOLDERS = 12;

function Plan({ sorted: { archive, inFolders }, formats, cancel, go }: PlanProps) {
  const folders = countFolders(inFolders, formats);
  const images = folders.reduce((all, [, number]) => all + number, 0);
  const size = archive?.file.size ?? inFolders.reduce((all, { file }) => all + file.size, 0);
  return (
    <section class="card">
      <h2>{archive ? archive.file.name : count(images, "image")}</h2>
      <p>
        {bytes(size)}
        {!archive && `, in ${count(folders.length, "folder")}`}
      </p>
      <ul class="facts">
        {folders.slice(0, SHOWN_FOLDERS).map(([folder, number]) => (
          <li key={folder}>
            <span>{folder || "beside the table"}</span> <b>{number.toLocaleString("en")}</b>
          </li>
        ))}
      </ul>
      {folders.length > SHOWN_FOLDERS && (
        <p class="quiet">and {count(folders.length - SHOWN_FOLDERS, "more folder")}.</p>
      )}
      <div class="row">
        <button type="button" class="main" onClick={go}>
          Import
        </button>
        <button type="button" onClick={cancel}>
          Something else
        </button>
      </div>
    </section>
  );
}

interface ClassesProps {
  groups: Group[];
  change: (groups: Group[]) => void;
  cancel: () => void;
  go: () => void;
}

/** Images that lie in no folder: what are they? */
function Classes({ groups, change, cancel, go }: ClassesProps) {
  const last = useRef<HTMLInputElement>(null);
  useEffect(() => last.current?.focus(), [groups.length]);
  const rename = (at: number, name: string) =>
    change(groups.map((group, one) => (one === at ? { ...group, name } : group)));
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        go();
      }}
    >
      <h2>What do these images show?</h2>
      <p class="quiet">They lie in no folder, so their class is not known. All of one drop have the same.</p>
      {groups.map(({ name, files }, at) => (
        <div class="class" key={at}>
          <label>
            Class of {count(files.length, "image")}
            <input
              ref={at === groups.length - 1 ? last : undefined}
              value={name}
              required
              pattern=".*\S.*"
              maxLength={100}
              onInput={(event) => rename(at, event.currentTarget.value)}
            />
          </label>
          <Pictures files={files} />
          <button
            type="button"
            class="small"
            onClick={() => change(groups.filter((_, one) => one !== at))}
            aria-label={`Leave out ${name || "these"}`}
          >
            Leave out
          </button>
        </div>
      ))}
      {new Set(groups.map(({ name }) => name.trim())).size < 2 && (
        <p class="quiet">A training needs at least two classes: drop the images of the next one above.</p>
      )}
      <div class="row">
        <button type="submit" class="main">
          Import
        </button>
        <button type="button" onClick={cancel}>
          Something else
        </button>
      </div>
    </form>
  );
}

const SHOWN_PICTURES = 5;

/** The first of them as the browser shows them; formats that it does not know are left out. */
function Pictures({ files }: { files: Found[] }) {
  const [urls, setUrls] = useState<string[]>([]);
  useEffect(() => {
    const made = files.slice(0, SHOWN_PICTURES).map(({ file }) => URL.createObjectURL(file));
    setUrls(made);
    return () => {
      for (const url of made) URL.revokeObjectURL(url);
    };
  }, [files]);
  return (
    <div class="thumbs">
      {urls.map((url) => (
        <img key={url} src={url} alt="" onError={(event) => event.currentTarget.remove()} />
      ))}
    </div>
  );
}

function LeftOut({ sorted: { leftOut, others } }: { sorted: Sorted }) {
  if (leftOut.size === 0 && others.length === 0) return null;
  const lines: [words: string, paths: string[]][] = [...leftOut].map(([why, paths]) => [
    `${count(paths.length, "file is", "files are")} left out: ${why}.`,
    paths,
  ]);
  if (others.length > 0)
    lines.push([
      `${count(others.length, "file has", "files have")} another name than images have. The import looks inside, and lists what it skips.`,
      others,
    ]);
  return (
    <div class="notice">
      {lines.map(([words, paths]) => (
        <details key={words}>
          <summary>{words}</summary>
          <ul class="paths">
            {paths.slice(0, 100).map((path) => (
              <li key={path}>{path}</li>
            ))}
            {paths.length > 100 && <li>and {count(paths.length - 100, "more file")}</li>}
          </ul>
        </details>
      ))}
    </div>
  );
}
