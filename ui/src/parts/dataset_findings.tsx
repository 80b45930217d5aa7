import { api, ask, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Found, type Level } from "./found";
import { Picture } from "./gallery";
import { askForItems, type Filter, type Flag } from "./gallery_filter";
import { count } from "./numbers";

interface Finding {
  key: string;
  level: Level;
  words: string;
  advice: string;
  /** What shows the images that it is about. */
  filter: Filter | undefined;
  /** Of some of them, where that is known already. */
  images: string[] | undefined;
}

/** Findings that are seen at once; the others are folded. */
const FIRST = 3;
const PICTURES = 6;
/** Findings of the examination of which a filter leaves all images, not the first ones alone. */
const FLAG_OF: Record<string, Flag> = {
  contradiction: "contradiction",
  suspect_labels: "suspect",
  outliers: "outlier",
  near_duplicates: "near_duplicate",
};

/** What the doctor of datasets and the import found, the worst first. */
export function findingsOf(
  examination: Schemas["ExaminationReport"] | undefined,
  report: Schemas["DatasetReport"],
): Finding[] {
  const found = (examination?.diagnoses ?? []).map(
    ({ code, level, finding, advice, classes, images }, at): Finding => {
      const flag = FLAG_OF[code];
      const ids = images.map(({ item }) => item);
      let filter: Filter | undefined;
      if (flag) filter = { flags: [flag] };
      else if (ids.length > 0) filter = { item: ids, flags: [] };
      else if (classes.length > 0) filter = { label: classes, flags: [] };
      return { key: `${code} ${at}`, level, words: finding, advice, filter, images: ids };
    },
  );
  const totals = report.totals as Record<string, number> | undefined;
  const conflicts = totals?.conflicting_labels ?? 0;
  if (conflicts > 0 && !found.some(({ key }) => key.startsWith("contradiction")))
    found.unshift({
      key: "conflicts",
      level: "error",
      words: `${count(conflicts, "image lies", "images lie")} in more than one class`,
      advice: "Decide on one label for each: one of them is wrong, and teaches and tests the wrong thing.",
      filter: { flags: ["contradiction"] },
      images: undefined,
    });
  const copies = totals?.duplicates ?? 0;
  if (copies > 0)
    found.push({
      key: "copies",
      level: "note",
      words: `${count(copies, "image is", "images are")} there more than once`,
      advice: "Copies stay in one split and add nothing.",
      filter: { flags: ["copy"] },
      images: undefined,
    });
  return found;
}

interface Props {
  dataset: string;
  findings: Finding[];
  href: (filter: Filter) => string;
}

export function DatasetFindings({ dataset, findings, href }: Props) {
  const cards = findings.map((finding) => (
    <Card key={finding.key} dataset={dataset} finding={finding} href={href} />
  ));
  return (
    <section class="founds" aria-label="Findings">
      {cards.slice(0, FIRST)}
      {cards.length > FIRST && (
        <details>
          <summary>{count(cards.length - FIRST, "more finding")}</summary>
          <div class="founds">{cards.slice(FIRST)}</div>
        </details>
      )}
    </section>
  );
}

function Card({ dataset, finding, href }: { dataset: string; finding: Finding; href: Props["href"] }) {
  const { level, words, advice, filter, images } = finding;
  return (
    <Found level={level} words={words} advice={advice}>
      {filter && (
        <>
          {images ? (
            <Pictures dataset={dataset} ids={images} />
          ) : (
            <FirstPictures dataset={dataset} filter={filter} />
          )}
          <a class="button small" href={href(filter)} aria-label={`Show these: ${words}`}>
            Show these
          </a>
        </>
      )}
    </Found>
  );
}

function FirstPictures({ dataset, filter }: { dataset: string; filter: Filter }) {
  const state = useAsk((signal) => askForItems(dataset, filter, 0, PICTURES, signal), [dataset, filter]);
  return <Pictures dataset={dataset} ids={(state.value?.data ?? []).map(({ id }) => id)} />;
}

function Pictures({ dataset, ids }: { dataset: string; ids: string[] }) {
  return (
    <div class="found-pictures" aria-hidden="true">
      {ids.slice(0, PICTURES).map((id) => (
        <Picture key={id} dataset={dataset} item={{ id, width: 99, height: 99 }} longest={64} />
      ))}
    </div>
  );
}

/** Has the images looked at. Throws AskError. */
export function examine(dataset: string): Promise<Schemas["Job"]> {
  return ask(api.POST("/datasets/{dataset}/examinations", { params: { path: { dataset } } }));
}
